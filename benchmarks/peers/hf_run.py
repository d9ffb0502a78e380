"""A whole fine-tuning of SST-2 with transformers' Trainer, from the command line: what start-up and
memory are measured of. It does what the documented run_glue script does, less what that needs the
`datasets` package for.

    python benchmarks/peers/hf_run.py --model DIR --data GLUE_DATA_DIR/SST-2 --output DIR \
        --padding max_length|longest --max_steps N
"""

import argparse
import sys
from pathlib import Path

import torch
from transformers import (
    BertForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.peers import hf  # noqa: E402
from benchmarks.suite import rows  # noqa: E402


class Told(TrainerCallback):
    def on_step_end(self, args, state, control, **others):
        print(f"step {state.global_step}", flush=True)


def read(path):
    """Rows of a GLUE file of SST-2: as they are, only "\\n" ends a line."""
    lines = path.read_text(encoding="utf-8").split("\n")[1:]
    pairs = [line.split("\t") for line in lines if line]
    return rows.Given([a for a, _ in pairs], None, [int(b) for _, b in pairs], ["0", "1"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("model", "data", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--padding", choices=("max_length", "longest"), required=True)
    parser.add_argument("--max_steps", type=int, required=True)
    parser.add_argument("--save_steps", type=int, default=0, help="0: at the end")
    parser.add_argument("--eval", action="store_true", help="read the dev set too")
    args = parser.parse_args()

    torch.set_num_threads(2)
    tokens = hf.tokenizer(args.model)
    padding = "max_length" if args.padding == "max_length" else False
    names = ("train", "dev") if args.eval else ("train",)
    sets = {
        name: hf.encode(read(args.data / f"{name}.tsv"), tokens, 128, padding) for name in names
    }
    model = BertForSequenceClassification.from_pretrained(args.model, dtype=torch.float32)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(args.output),
            per_device_train_batch_size=32,
            learning_rate=2e-5,
            max_steps=args.max_steps,
            train_sampling_strategy="random" if padding else "group_by_length",
            save_strategy="steps",
            save_steps=args.save_steps or args.max_steps,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=sets["train"],
        eval_dataset=sets.get("dev"),
        data_collator=default_data_collator if padding else DataCollatorWithPadding(tokens),
        callbacks=[Told()],
    )
    trainer.train()


if __name__ == "__main__":
    main()

"""transformers as a contestant: its Trainer on the rows of a specification (suite/protocol.py).

documented   as its run_glue example: every row padded to 128
best         batches padded to their longest row and grouped by length, float32
bf16         the same in bfloat16
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import (
    BertForSequenceClassification,
    BertTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.suite import protocol, rows  # noqa: E402


class Clock(TrainerCallback):
    """The time from the first batch being asked for to the end of the last step."""

    def on_train_begin(self, args, state, control, **others):
        self.begun = time.perf_counter()

    def on_step_end(self, args, state, control, **others):
        self.ended = time.perf_counter()


class Grouped(torch.utils.data.Sampler):
    """The order that Trainer's group_by_length makes of a large data set: pools of 50 batches.

    Left to itself it would cut the few rows of a block into smaller pools, with more padding.
    """

    def __init__(self, lengths, batch):
        self.lengths, self.batch = lengths, batch

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        return iter(get_length_grouped_indices(self.lengths, self.batch, mega_batch_mult=50))


class GroupingTrainer(Trainer):
    def _get_train_sampler(self, train_dataset=None):
        lengths = [len(row["input_ids"]) for row in self.train_dataset]
        return Grouped(lengths, self.args.train_batch_size)


def tokenizer(folder):
    # From vocab.txt: a folder's tokenizer.json may carry truncation and padding of its own.
    return BertTokenizer(vocab=str(Path(folder) / "vocab.txt"), do_lower_case=True)


def encode(given, tokens, max_length, padding=False):
    """Rows as Trainer's data sets have them."""
    columns = [given.texts_a] if given.texts_b is None else [given.texts_a, given.texts_b]
    found = []
    for start in range(0, len(given.labels), 1000):  # as datasets' map does
        texts = [column[start : start + 1000] for column in columns]
        encoded = tokens(*texts, truncation="longest_first", max_length=max_length, padding=padding)
        found += [
            {key: encoded[key][i] for key in encoded} | {"label": label}
            for i, label in enumerate(given.labels[start : start + 1000])
        ]
    return found


def arguments(folder, spec, way, **more):
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=spec["batch"],
        per_device_eval_batch_size=spec["batch"],
        learning_rate=spec["learning_rate"],
        num_train_epochs=1,
        bf16=way == "bf16",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **more,
    )


def build(spec):
    torch.set_num_threads(2)
    tokens, given = tokenizer(spec["model"]), rows.read(spec["rows"])
    way = spec["way"]
    padding = "max_length" if way == "documented" else False
    data = encode(given, tokens, spec["max_length"], padding)
    model = BertForSequenceClassification.from_pretrained(spec["model"], dtype=torch.float32)
    collator = default_data_collator if padding else DataCollatorWithPadding(tokens)
    pieces = sum(sum(row["attention_mask"]) for row in data)
    make = Trainer if way == "documented" else GroupingTrainer
    if spec["job"] == "prediction":
        return prediction(spec, model, data, collator, pieces)

    def train(seed, max_steps):
        clock = Clock()
        with tempfile.TemporaryDirectory() as scratch:
            trainer = make(
                model=model,
                args=arguments(scratch, spec, way, seed=seed, max_steps=max_steps),
                train_dataset=data,
                data_collator=collator,
                callbacks=[clock],
            )
            done = trainer.train()
        return clock.ended - clock.begun, done

    train(100, spec["warmup"])

    def block(number):
        seconds, done = train(number, -1)
        more = {"loss": done.training_loss, "steps": done.global_step}
        return rows.measurement(seconds, len(data), pieces) | more

    return block


def prediction(spec, model, data, collator, pieces):
    """Trainer.predict of rows sorted by length, so that little is padded."""
    order = sorted(range(len(data)), key=lambda i: -len(data[i]["input_ids"]))
    data = [data[i] for i in order]
    trainer = Trainer(
        model=model,
        args=arguments(tempfile.mkdtemp(dir=spec["scratch"]), spec, spec["way"]),
        data_collator=collator,
    )
    trainer.predict(data)

    def block(number):
        begun = time.perf_counter()
        found = trainer.predict(data).predictions
        seconds = time.perf_counter() - begun
        logits = [None] * len(order)
        for row, place in enumerate(order):
            logits[place] = found[row].tolist()
        return rows.measurement(seconds, len(data), pieces) | {"logits": logits}

    return block


if __name__ == "__main__":
    protocol.serve(build)

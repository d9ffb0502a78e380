"""The command lines about BERT in the READMEs of PaddleNLP's slm/model_zoo/bert (with static/ and
deploy/python/) and of transformers' examples/pytorch/text-classification and language-modeling
(the part on run_mlm), as they stand there.

Of each line: where it is, the line, our program, and what becomes of it here: flags that a run
shows to have had an effect (EFFECTS), or a part of the one line that answers.
"""

import re
import shlex
from dataclasses import dataclass, field
from typing import Any

GLUE, PRETRAIN, CREATE, OTHER = "run_glue.py", "run_pretrain.py", "create_data", "another command"


@dataclass(frozen=True)
class Line:
    """settings: values by our flags' names. answer: of the error; "" for a line that runs.
    command: for OTHER, what docs/FLAGS.md names instead."""

    source: str
    text: str
    program: str
    settings: dict[str, Any] = field(default_factory=dict)
    answer: str = ""
    command: str = ""

    @property
    def argv(self) -> list[str]:
        """The flags, as a shell splits them."""
        words = shlex.split(re.sub(r"\\\n", " ", self.text))
        script = next(i for i, word in enumerate(words) if word.endswith(".py"))
        return words[script + 1 :]


_PRETRAIN_FLAGS = """\
    --model_type bert \\
    --model_name_or_path bert-base-uncased \\
    --max_predictions_per_seq 20 \\
    --batch_size 32   \\
    --learning_rate 1e-4 \\
    --weight_decay 1e-2 \\
    --adam_epsilon 1e-6 \\
    --warmup_steps 10000 \\
    --input_dir data/ \\
    --output_dir pretrained_models/ \\
    --logging_steps 1 \\
    --save_steps 20000 \\
    --max_steps 1000000 \\
"""
_TRAINER_FLAGS = _PRETRAIN_FLAGS.replace(
    "--batch_size 32", "--per_device_train_batch_size 32"
).replace("    --input_dir", "    --num_train_epochs 3 \\\n    --input_dir")
_PRETRAIN_SETTINGS = {
    "batch_size": 32,
    "learning_rate": 1e-4,
    "weight_decay": 0.01,
    "adam_epsilon": 1e-6,
    "warmup_steps": 10000,
    "max_predictions_per_seq": 20,
    "use_amp": False,
}
_GLUE_SETTINGS = {"batch_size": 32, "learning_rate": 2e-5, "max_seq_length": 128}
_NLP = "PaddleNLP slm/model_zoo/bert/README.md"
_STATIC = "PaddleNLP slm/model_zoo/bert/static/README.md"
_HF = "transformers text-classification/README.md"
_MLM = "transformers language-modeling/README.md"
_CREATE_LINE = """python create_pretraining_data.py \\
  --input_file=data/sample_text.txt \\
  --output_file=data/training_data.hdf5 \\
  --bert_model=bert-base-uncased \\
  --max_seq_length=128 \\
  --max_predictions_per_seq=20 \\
  --masked_lm_prob=0.15 \\
  --random_seed=12345 \\
  --dupe_factor=5
"""
_HUB = "no data sets of Hugging Face's hub"

LINES = [
    Line(_NLP, _CREATE_LINE, CREATE, answer="--output_file data/training_data.hdf5 is not "),
    Line(
        _NLP,
        'python -m paddle.distributed.launch --gpus "0" run_pretrain.py \\\n'
        + _PRETRAIN_FLAGS
        + "    --device gpu \\\n    --use_amp False",
        PRETRAIN,
        _PRETRAIN_SETTINGS | {"device": "gpu"},
    ),
    Line(
        _NLP,
        'python -m paddle.distributed.launch --gpus "0" run_pretrain_trainer.py \\\n'
        + _TRAINER_FLAGS
        + "    --device gpu \\\n    --fp16 False \\\n    --do_train\n",
        PRETRAIN,
        _PRETRAIN_SETTINGS | {"device": "gpu", "num_train_epochs": 3.0},
    ),
    Line(
        _NLP,
        'python -m paddle.distributed.launch --xpus "0" run_pretrain.py \\\n'
        + _PRETRAIN_FLAGS
        + "    --device xpu \\\n    --use_amp False",
        PRETRAIN,
        _PRETRAIN_SETTINGS | {"device": "xpu"},
    ),
    Line(
        _NLP,
        'python -m paddle.distributed.launch --xpus "0" run_pretrain_trainer.py \\\n'
        + _TRAINER_FLAGS
        + "    --device xpu \\\n    --fp16 False \\\n    --do_train\n",
        PRETRAIN,
        _PRETRAIN_SETTINGS | {"device": "xpu", "num_train_epochs": 3.0},
    ),
    Line(
        _NLP,
        """python -m paddle.distributed.launch --gpus "0" run_glue_trainer.py \\
    --model_name_or_path bert-base-uncased \\
    --task_name SST2 \\
    --max_seq_length 128 \\
    --per_device_train_batch_size 32   \\
    --per_device_eval_batch_size 32   \\
    --learning_rate 2e-5 \\
    --num_train_epochs 3 \\
    --logging_steps 1 \\
    --save_steps 500 \\
    --output_dir ./tmp/ \\
    --device gpu \\
    --fp16 False\\
    --do_train \\
    --do_eval
""",
        GLUE,
        _GLUE_SETTINGS | {"eval_batch_size": 32, "use_amp": False, "device": "gpu"},
    ),
    Line(
        _NLP,
        """python -u ./export_model.py \\
    --model_type bert \\
    --model_path bert-base-uncased \\
    --output_path ./infer_model/model
""",
        OTHER,
        command="bert-paddle export",
    ),
    Line(
        _NLP,
        "python deploy/python/infer.py --model_dir infer_model/ --device gpu",
        OTHER,
        command="bert-paddle predict",
    ),
    Line(
        "PaddleNLP slm/model_zoo/bert/deploy/python/README.md",
        "python infer.py --model_dir ../../infer_model/ --device cpu",
        OTHER,
        command="bert-paddle predict",
    ),
    Line(
        _STATIC,
        """python -m paddle.distributed.launch --gpus "0" run_glue.py \\
    --model_type bert \\
    --model_name_or_path bert-base-uncased \\
    --task_name SST-2 \\
    --max_seq_length 128 \\
    --batch_size 32   \\
    --learning_rate 2e-5 \\
    --num_train_epochs 3 \\
    --logging_steps 1 \\
    --save_steps 500 \\
    --output_dir ./tmp/ \\
    --device gpu
""",
        GLUE,
        _GLUE_SETTINGS | {"device": "gpu"},
    ),
    Line(
        _STATIC,
        """python -u ./predict_glue.py \\
    --task_name SST-2 \\
    --model_type bert \\
    --model_path ./tmp/model_20/infer_model \\
    --batch_size 32 \\
    --max_seq_length 128
""",
        OTHER,
        command="--do_predict",
    ),
    *(
        Line(
            _HF,
            f"""python run_glue.py \\
  --model_name_or_path bert-base-cased \\
  --task_name mrpc \\
  --do_train \\
  --do_eval \\
  --max_seq_length 128 \\
  --per_device_train_batch_size 32 \\
  --learning_rate 2e-5 \\
  --num_train_epochs 3 \\
  --output_dir /tmp/mrpc/{more}
""",
            GLUE,
            _GLUE_SETTINGS | settings,
        )
        for more, settings in (
            ("", {"use_amp": False}),
            (" --fp16", {"use_amp": True, "amp_dtype": "float16"}),
        )
    ),
    Line(
        _HF,
        """python run_glue.py \\
  --model_name_or_path bert-base-cased \\
  --dataset_name imdb  \\
  --do_train \\
  --do_predict \\
  --max_seq_length 128 \\
  --per_device_train_batch_size 32 \\
  --learning_rate 2e-5 \\
  --num_train_epochs 3 \\
  --output_dir /tmp/imdb/
""",
        GLUE,
        answer=f"--dataset_name imdb is not supported: {_HUB}",
    ),
    Line(
        _HF,
        """python run_glue_no_trainer.py \\
  --model_name_or_path bert-base-cased \\
  --task_name mrpc \\
  --max_length 128 \\
  --per_device_train_batch_size 32 \\
  --learning_rate 2e-5 \\
  --num_train_epochs 3 \\
  --output_dir /tmp/mrpc/
""",
        GLUE,
        _GLUE_SETTINGS,
    ),
    Line(
        _HF,
        """accelerate launch run_glue_no_trainer.py \\
  --model_name_or_path bert-base-cased \\
  --task_name mrpc \\
  --max_length 128 \\
  --per_device_train_batch_size 32 \\
  --learning_rate 2e-5 \\
  --num_train_epochs 3 \\
  --output_dir /tmp/mrpc/
""",
        GLUE,
        _GLUE_SETTINGS,
    ),
    Line(
        _HF,
        """python run_xnli.py \\
  --model_name_or_path bert-base-multilingual-cased \\
  --language de \\
  --train_language en \\
  --do_train \\
  --do_eval \\
  --per_device_train_batch_size 32 \\
  --learning_rate 5e-5 \\
  --num_train_epochs 2.0 \\
  --max_seq_length 128 \\
  --output_dir /tmp/debug_xnli/ \\
  --save_steps -1
""",
        GLUE,
        answer="--language de is not supported: XNLI is not a task here",
    ),
    Line(
        _HF,
        """python run_glue.py \\
  --model_name_or_path google-bert/bert-base-cased \\
  --task_name mrpc \\
  --do_train \\
  --do_eval \\
  --max_seq_length 128 \\
  --per_device_train_batch_size 32 \\
  --learning_rate 2e-5 \\
  --num_train_epochs 3 \\
  --output_dir /tmp/mrpc/
""",
        GLUE,
        _GLUE_SETTINGS | {"model_name_or_path": "bert-base-cased"},
    ),
    Line(
        _HF,
        """python run_classification.py \\
    --model_name_or_path  google-bert/bert-base-uncased \\
    --dataset_name amazon_reviews_multi \\
    --dataset_config_name en \\
    --shuffle_train_dataset \\
    --metric_name accuracy \\
    --text_column_name "review_title,review_body,product_category" \\
    --text_column_delimiter "\\n" \\
    --label_column_name stars \\
    --do_train \\
    --do_eval \\
    --max_seq_length 512 \\
    --per_device_train_batch_size 32 \\
    --learning_rate 2e-5 \\
    --num_train_epochs 1 \\
    --output_dir /tmp/amazon_reviews_multi_en/
""",
        GLUE,
        answer=f"--dataset_name amazon_reviews_multi is not supported: {_HUB}",
    ),
    Line(
        _HF,
        """python run_classification.py \\
    --model_name_or_path google-bert/bert-base-uncased \\
    --dataset_name reuters21578 \\
    --dataset_config_name ModApte \\
    --shuffle_train_dataset \\
    --remove_splits "unused" \\
    --metric_name f1 \\
    --text_column_name text \\
    --label_column_name topics \\
    --do_train \\
    --do_eval \\
    --max_seq_length 512 \\
    --per_device_train_batch_size 32 \\
    --learning_rate 2e-5 \\
    --num_train_epochs 15 \\
    --output_dir /tmp/reuters21578_ModApte/
""",
        GLUE,
        answer=f"--dataset_name reuters21578 is not supported: {_HUB}",
    ),
    Line(
        _MLM,
        """python run_mlm.py \\
    --model_name_or_path roberta-base \\
    --dataset_name wikitext \\
    --dataset_config_name wikitext-2-raw-v1 \\
    --per_device_train_batch_size 8 \\
    --per_device_eval_batch_size 8 \\
    --do_train \\
    --do_eval \\
    --output_dir /tmp/test-mlm
""",
        PRETRAIN,
        answer=f"--dataset_name wikitext is not supported: {_HUB}",
    ),
    Line(
        _MLM,
        """python run_mlm.py \\
    --model_name_or_path roberta-base \\
    --train_file path_to_train_file \\
    --validation_file path_to_validation_file \\
    --per_device_train_batch_size 8 \\
    --per_device_eval_batch_size 8 \\
    --do_train \\
    --do_eval \\
    --output_dir /tmp/test-mlm
""",
        PRETRAIN,
        answer="--train_file path_to_train_file is not supported: make shards of it",
    ),
    Line(
        _MLM,
        """python run_mlm_no_trainer.py \\
    --dataset_name wikitext \\
    --dataset_config_name wikitext-2-raw-v1 \\
    --model_name_or_path roberta-base \\
    --output_dir /tmp/test-mlm
""",
        PRETRAIN,
        answer=f"--dataset_name wikitext is not supported: {_HUB}",
    ),
]

"""Pre-train BERT on HDF5 shards: masked language model and next-sentence prediction.

    python -u run_pretrain.py --model_name_or_path bert-base-uncased --input_dir shards \
        --output_dir out
    python -u run_pretrain.py --model_name_or_path bert-base-uncased --num_hidden_layers 4 \
        --hidden_size 256 --input_dir shards --output_dir out --n_gpu 2
    python -m paddle.distributed.launch run_pretrain.py --model_name_or_path bert-base-uncased \
        --input_dir shards --output_dir out

All flags: `python run_pretrain.py --help`. The steps of a run:
bert_paddle/pretrain/pretrain.py.
"""

from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.distributed.launch import launch
from bert_paddle.pretrain.args import parse_args


def main() -> None:
    with exit_with_one_line():
        launch("bert_paddle.pretrain.pretrain:run", parse_args())


if __name__ == "__main__":
    main()

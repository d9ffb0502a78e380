"""Create pre-training shards (HDF5, NVIDIA's layout) from plain text.

    python scripts/create_pretraining_data.py --input_files books --vocab_file vocab.txt \
        --output_dir shards
    python scripts/create_pretraining_data.py --input_files 'wiki/*.txt.gz' --vocab_file my_bert \
        --max_seq_length 512 --max_predictions_per_seq 76 --output_dir shards_512 --workers 8

All flags: --help. Implementation: bert_paddle/pretrain/create/create_data.py.
"""

import sys
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from bert_paddle.common.error_exit import exit_with_one_line
    from bert_paddle.pretrain.create import create_data
    from bert_paddle.pretrain.create.args import parse_args

    with exit_with_one_line():
        create_data.run(parse_args())


if __name__ == "__main__":
    main()

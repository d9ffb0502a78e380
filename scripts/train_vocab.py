"""Train a BERT WordPiece vocabulary on text files: vocab.txt and tokenizer_config.json; or with
--kind bpe a byte-level BPE vocabulary, GPT-2's kind: vocab.json, merges.txt and tokenizer.json.

    python scripts/train_vocab.py --input_files corpus/ --output_dir vocab/
    python scripts/train_vocab.py --input_files 'books/*.txt.gz' --form prose --output_dir vocab/
    python scripts/train_vocab.py --input_files zh.txt --language zh --limit_alphabet 7000 \
        --vocab_size 21128 --output_dir vocab/
    python scripts/train_vocab.py --kind bpe --input_files corpus/ --vocab_size 8000 \
        --output_dir vocab/

All flags: `python scripts/train_vocab.py --help`.
Implementation: bert_paddle/pretrain/create/vocab.py.
"""

import sys
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from bert_paddle.common.error_exit import exit_with_one_line
    from bert_paddle.pretrain.create import vocab

    with exit_with_one_line():
        vocab.run(vocab.parse_args())


if __name__ == "__main__":
    main()

"""Fine-tune GPT-2 on texts of your own.

    python -u run_clm.py --model_name_or_path gpt2 --train_file bios.csv --text_column bio \
        --output_dir out --bos_token '<|startoftext|>' --pad_token '<|pad|>' --sample_every 100
    python -m paddle.distributed.launch run_clm.py --model_name_or_path DIR --train_file a.csv \
        --output_dir out

All flags: `python run_clm.py --help`. The steps of a run: bert_paddle/clm/finetune.py.
"""

from bert_paddle.clm.args import parse_args
from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.distributed.launch import launch


def main() -> None:
    with exit_with_one_line():
        launch("bert_paddle.clm.finetune:run", parse_args())


if __name__ == "__main__":
    main()

"""Fine-tune BERT on a GLUE task.

    python -u run_glue.py --task_name SST-2 --model_name_or_path bert-base-uncased --output_dir out
    python -u run_glue.py --task_name mrpc --model_name_or_path ./my_bert --output_dir out --n_gpu 2
    python -m paddle.distributed.launch run_glue.py --task_name QNLI --model_name_or_path DIR \
        --output_dir out

All flags: `python run_glue.py --help`. The steps of a run: bert_paddle/glue/finetune.py.
With --seeds 1,2,3 each seed runs in its own process: bert_paddle/sweep/seeds.py.
"""

from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.distributed.launch import launch
from bert_paddle.glue.args import parse_args


def main() -> None:
    with exit_with_one_line():
        args = parse_args()
        if args.seeds:
            from bert_paddle.sweep import seeds

            seeds.run_seeds(args)
        else:
            launch("bert_paddle.glue.finetune:run", args)


if __name__ == "__main__":
    main()

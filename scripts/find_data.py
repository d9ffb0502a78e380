"""Where a task's data is: prints its folder and the number of its training rows, tab-separated.

    python scripts/find_data.py TASK [--data_dir DIR] [--download]

Looks where run_glue.py looks (DIR, $GLUE_DATA_DIR, $BERT_PADDLE_HOME/glue). Found nowhere: one
`error:` line and exit code 2; with --download the official files are fetched first.
"""

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("task")
    parser.add_argument("--data_dir", help="a folder of task folders, or the task's own")
    parser.add_argument("--download", action="store_true", help="fetch it where it is missing")
    args = parser.parse_args()

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from bert_paddle.common import runtime
    from bert_paddle.common.error_exit import exit_with_one_line
    from bert_paddle.common.errors import DataError
    from bert_paddle.glue import tasks
    from bert_paddle.glue.data import download, tsv

    with exit_with_one_line(debug=False):
        task = tasks.get_task(args.task)
        found = tsv.find(task, args.data_dir, os.environ, runtime.home_dir())
        folder = found.folder
        if folder is None and args.download:
            folder = download.ensure(task, runtime.home_dir(), found.looked)
        if folder is None:
            raise DataError(f"{task.name}: no data found; looked in: {'; '.join(found.looked)}")
        print(folder, _rows(folder / task.train_file) if task.train_file else 0, sep="\t")


def _rows(path: Path) -> int:
    """Rows of a TSV file, as good as its lines tell (CoLA, without a header, has one more): a
    malformed row is for run_glue.py to find."""
    with open(path, "rb") as file:
        return sum(1 for _ in file) - 1


if __name__ == "__main__":
    main()

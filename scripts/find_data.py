"""Find a task's data: print its folder and the number of its training rows, tab-separated.

    python scripts/find_data.py TASK [--data_dir DIR] [--download [--seconds S]]

Searches the same places as run_glue.py (DIR, $GLUE_DATA_DIR, $BERT_PADDLE_HOME/glue). If they have
no data, prints one `error:` line and exits with code 2; --download fetches the official files, and
is ended by SIGALRM after S seconds.
"""

import argparse
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("task")
    parser.add_argument("--data_dir", help="a folder of task folders, or the task folder itself")
    parser.add_argument("--download", action="store_true", help="download missing data")
    parser.add_argument("--seconds", type=int, default=0, help="at most so long; 0: no limit")
    args = parser.parse_args()
    signal.alarm(args.seconds)  # macOS has no `timeout` command

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from bert_paddle.common import runtime
    from bert_paddle.common.error_exit import exit_with_one_line
    from bert_paddle.common.errors import DataError
    from bert_paddle.glue import tasks
    from bert_paddle.glue.data import download, tsv

    with exit_with_one_line(debug=False):
        task = tasks.get_task(args.task)
        search = tsv.find_task_dir(task, args.data_dir, os.environ, runtime.bert_paddle_home())
        folder = search.folder
        if folder is None and args.download:
            folder = download.ensure_downloaded(task, runtime.bert_paddle_home(), search.rejected)
        if folder is None:
            raise DataError(f"{task.name}: no data found; looked in: {'; '.join(search.rejected)}")
        print(folder, _count_rows(folder / task.train_file) if task.train_file else 0, sep="\t")


def _count_rows(path: Path) -> int:
    """The lines of a TSV file without its header (one too few for CoLA, which has none); malformed
    rows are left to run_glue.py."""
    with open(path, "rb") as file:
        return sum(1 for _ in file) - 1


if __name__ == "__main__":
    main()

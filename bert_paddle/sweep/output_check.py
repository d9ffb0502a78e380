"""The check of a sweep's output files, its runs' included, before the first run starts."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from bert_paddle.common import config_file, outputs, read_files
from bert_paddle.glue import output_check
from bert_paddle.glue.args import GlueArgs
from bert_paddle.sweep import table
from bert_paddle.sweep.plan import Plan
from bert_paddle.training import run_files

_TABLE_START = (b"# Sweep: ", b"# Seeds: ")
_CSV_COLUMNS = b"seeds,finished,failed,score"


def check_outputs(plan: Plan) -> None:
    """Check that no input and no file of others is in the way of a file that the sweep or one of
    its runs writes. Raises OutputError, OSError."""
    folder = plan.folder
    markdown_path, csv_path = table.table_paths(folder, plan.table_stem)
    recognizers: dict[Path, Callable[[Path], bool]] = {
        markdown_path: _is_markdown_table,
        csv_path: _is_csv_table,
        folder / run_files.RESULTS_FILE: run_files.is_own,
    }
    if plan.is_seed_sweep:
        recognizers[folder / config_file.SETTINGS_FILE] = run_files.is_own
    args = plan.runs[0].args
    inputs = [*args.inputs(), *args.models()]
    outputs.check_inputs_kept(inputs, recognizers, "move it, or give another --output_dir")
    existing = [path for path in recognizers if read_files.exists(path)]
    run_files.refuse_in_the_way([path for path in existing if not recognizers[path](path)])
    for run in plan.runs:
        run_args = dataclasses.replace(run.args, overwrite_output_dir=plan.overwrite)
        if isinstance(run_args, GlueArgs):
            output_check.check_outputs(run_args)
        else:
            run_files.check_outputs(run_args, run_args.inputs(), run_args.models(), (), True)


def _is_markdown_table(path: Path) -> bool:
    content = read_files.read_bytes(path) or b""
    return not content or content.startswith(_TABLE_START)


def _is_csv_table(path: Path) -> bool:
    content = read_files.read_bytes(path) or b""
    return not content or _CSV_COLUMNS in content.partition(b"\n")[0]

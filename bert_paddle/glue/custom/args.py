"""What the flags for a user's own data mean together, checked before any file is read."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bert_paddle.glue.args import GlueArgs

TSV, QUOTED_TSV, CSV, JSON, JSON_LINES = "tsv", "quoted_tsv", "csv", "json", "jsonl"
FORMATS = (TSV, QUOTED_TSV, CSV, JSON, JSON_LINES)
_ENDINGS = {".tsv": TSV, ".csv": CSV, ".json": JSON, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}
# --metric -> what all_results.json calls it; of classes, and of regressions.
CLASS_METRICS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "f1_macro": "f1_macro",
    "matthews": "matthews_correlation",
}
SCORE_METRICS = {"pearson": "pearson", "spearman": "spearmanr", "mse": "mse"}
DEFAULT_SHARE = 0.1  # of the training rows, held out where there is no validation file

_FILES = ("train_file", "validation_file", "test_file")
# Flags that say what the data are, which a GLUE task says itself.
_OF_DATA = ("labels", "regression", "metric")
# Flags that say how a file is to be read.
_OF_READING = ("file_format", "column_names", "text_column", "text_pair_column", "label_column")


def format_of(path: str, file_format: str | None) -> str | None:
    """The format of a file, by --file_format or its ending; None for an ending that tells none."""
    return file_format or _ENDINGS.get(Path(path).suffix.lower())


def names(text: str | None) -> tuple[str, ...]:
    """The names in a flag's value, which has commas between them."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def actions(args: "GlueArgs") -> tuple[bool, bool, bool]:
    """Train, evaluate, predict: what there are files for, where no --do_... flag says."""
    train = args.train_file is not None
    return train, train and _splits(args) or args.validation_file is not None, bool(args.test_file)


def share(args: "GlueArgs") -> float:
    """The share of the training rows that is held out for evaluation."""
    if args.validation_share >= 0:
        return args.validation_share
    return 0.0 if args.validation_file else DEFAULT_SHARE


def _splits(args: "GlueArgs") -> bool:
    return args.train_file is not None and share(args) > 0


def displaced(typed: Collection[str], filed: Collection[str]) -> frozenset[str]:
    """The flags of a --config file that the typed ones take the place of, by their names."""
    rows = _FILES[:2]
    if "task_name" not in typed and any(name in typed for name in rows):
        return frozenset({"task_name", "data_dir"})
    if "task_name" in typed and any(name in filed and name not in typed for name in rows):
        return frozenset({*_FILES, "validation_share", *_OF_DATA, *_OF_READING})
    return frozenset()


def problems(args: "GlueArgs") -> Iterator[str]:
    """What is wrong with these flags, one clause each."""
    given = [name for name in _FILES if getattr(args, name) is not None]
    if args.task_name is not None:
        own = [f"--{name}" for name in (*_FILES[:2], *_OF_DATA) if getattr(args, name)]
        if own:
            yield (
                f"{', '.join(own)} and --task_name exclude each other: a run is of a GLUE task or "
                "of data of your own"
            )
    elif not given:
        yield "--task_name is required (or --train_file, for data of your own)"
    elif args.data_dir:
        yield "--data_dir is for GLUE's files: give --train_file and the like with their folders"
    reading = [f"--{name}" for name in _OF_READING if getattr(args, name)]
    if reading and not given:
        yield f"{', '.join(reading)}: there is no file to read so (--train_file, --test_file)"
    for name in given:
        yield from _wrong_file(args, name)
    yield from _wrong_columns(args)
    yield from _wrong_labels(args)
    if args.validation_file and args.validation_share > 0:
        yield "--validation_file and --validation_share are both set: give one of them"
    if args.task_name is None and given:
        yield from _missing_files(args)


def _wrong_file(args: "GlueArgs", name: str) -> Iterator[str]:
    path = getattr(args, name)
    if not Path(path).is_file():
        yield f"--{name} {path}: " + ("a folder" if Path(path).is_dir() else "no such file")
    elif format_of(path, args.file_format) is None:
        ending = Path(path).suffix
        what = f"the ending {ending} is unknown" if ending else "the name has no ending"
        yield f"--{name} {path}: {what} ({' '.join(_ENDINGS)}); or give --file_format"
    elif args.column_names and format_of(path, args.file_format) in (JSON, JSON_LINES):
        yield f"--column_names is for files without a header, and {path} names its fields itself"


def _wrong_columns(args: "GlueArgs") -> Iterator[str]:
    columns = names(args.column_names)
    if len(set(columns)) < len(columns) or "" in columns:
        yield f"--column_names {args.column_names}: give every column a name of its own"
    if args.text_pair_column and not args.text_column:
        yield "--text_pair_column needs --text_column"
    chosen = {
        flag: column
        for flag in ("text_column", "text_pair_column", "label_column")
        if (column := getattr(args, flag))
    }
    for flag, column in chosen.items():
        if columns and column not in columns:
            yield f"--{flag} {column} is not among --column_names {args.column_names}"
    if len(set(chosen.values())) < len(chosen):
        flags = ", ".join(f"--{flag}" for flag in chosen)
        yield f"{flags} name the same column: give each its own"


def _wrong_labels(args: "GlueArgs") -> Iterator[str]:
    labels = names(args.labels)
    if args.labels and args.regression:
        yield "--labels and --regression contradict each other: a regression has no classes"
    elif args.labels and (len(set(labels)) < len(labels) or "" in labels or len(labels) < 2):
        yield f"--labels {args.labels}: give two or more different names, with commas between them"
    if args.regression and args.metric in CLASS_METRICS:
        yield f"--metric {args.metric} is for classes: a regression has {', '.join(SCORE_METRICS)}"
    if args.labels and args.metric in SCORE_METRICS:
        yield f"--metric {args.metric} is for regressions: classes have {', '.join(CLASS_METRICS)}"
    if args.metric == "f1" and len(labels) > 2:
        yield f"--metric f1 is for two classes, and --labels has {len(labels)}: give f1_macro"


def _missing_files(args: "GlueArgs") -> Iterator[str]:
    """Actions that are asked for without a file to do them on."""
    if args.do_train and not args.train_file:
        yield "--do_train needs --train_file"
    if args.do_eval and not args.validation_file and not _splits(args):
        yield "--do_eval needs --validation_file, or --validation_share of --train_file"
    if args.do_predict and not args.test_file:
        yield "--do_predict needs --test_file"

"""The flags for a user's own data: a mixin of `GlueArgs`, with its own fields and checks."""

import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path

from bert_paddle.common.flags import flag

CUSTOM = "own data, in place of --task_name (docs/OWN_DATA.md)"
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


def displaced(typed: Collection[str], filed: Collection[str]) -> frozenset[str]:
    """The flags of a --config file that the typed ones take the place of, by their names."""
    rows = _FILES[:2]
    if "task_name" not in typed and any(name in typed for name in rows):
        return frozenset({"task_name", "data_dir"})
    if "task_name" in typed and any(name in filed and name not in typed for name in rows):
        return frozenset({*_FILES, "validation_share", *_OF_DATA, *_OF_READING})
    return frozenset()


@dataclasses.dataclass
class CustomDataArgs:
    """Which files to train on, evaluate and predict, and how to read them."""

    train_file: str | None = flag(
        None, "training rows: .tsv, .csv, .jsonl or .json, with named columns", group=CUSTOM
    )
    validation_file: str | None = flag(None, "rows to evaluate on, likewise", group=CUSTOM)
    test_file: str | None = flag(
        None,
        "rows to predict, likewise; scored where they have labels; also with --task_name, in "
        "place of its test sets",
        group=CUSTOM,
    )
    validation_share: float = flag(
        -1.0,
        "share of the training rows held out for evaluation, drawn by --seed (0: none; -1: 0.1, "
        "or none with --validation_file)",
        group=CUSTOM,
        least=0,
        most=0.9,
        or_is=-1,
    )
    text_column: str | None = flag(
        None, "column of the text (none: sentence, text, sentence1, ...)", group=CUSTOM
    )
    text_pair_column: str | None = flag(None, "column of a second text", group=CUSTOM)
    label_column: str | None = flag(
        None, "column of the label (none: label, labels, ...)", group=CUSTOM
    )
    column_names: str | None = flag(
        None, "a,b,c: the columns of files without a header line", group=CUSTOM, many=True
    )
    file_format: str | None = flag(
        None,
        "format of the files, whatever their endings; quoted_tsv: quotation marks as in CSV",
        group=CUSTOM,
        choices=FORMATS,
    )
    labels: str | None = flag(
        None,
        "a,b,c: the classes in order (none: those of the training rows)",
        group=CUSTOM,
        many=True,
    )
    regression: bool = flag(False, "labels are numbers to be predicted, not classes", group=CUSTOM)
    metric: str | None = flag(
        None,
        "what the best step is chosen by (none: accuracy; of a regression the mean of pearson and "
        "spearman)",
        group=CUSTOM,
        choices=(*CLASS_METRICS, *SCORE_METRICS),
    )

    def custom_actions(self) -> tuple[bool, bool, bool]:
        """Train, evaluate, predict: what there are files for, where no --do_... flag says."""
        train, evaluate = self.train_file is not None, self.validation_file is not None
        return train, self.splits_train_file() or evaluate, bool(self.test_file)

    def dev_share(self) -> float:
        """The share of the training rows that is held out for evaluation."""
        if self.validation_share >= 0:
            return self.validation_share
        return 0.0 if self.validation_file else DEFAULT_SHARE

    def splits_train_file(self) -> bool:
        """Whether part of the training file is held out for evaluation."""
        return self.train_file is not None and self.dev_share() > 0

    def given_files(self) -> list[str]:
        """The names of the flags that name a file."""
        return [name for name in _FILES if getattr(self, name) is not None]

    def custom_data_problems(self, task_name: str | None, data_dir: str | None) -> Iterator[str]:
        """What is wrong with these flags, one clause each, next to --task_name and --data_dir."""
        files = self.given_files()
        if task_name is not None:
            clashing = [f"--{name}" for name in (*_FILES[:2], *_OF_DATA) if getattr(self, name)]
            if clashing:
                yield (
                    f"{', '.join(clashing)} and --task_name exclude each other: a run is of a GLUE "
                    "task or of data of your own"
                )
        elif not files:
            yield "--task_name is required (or --train_file, for data of your own)"
        elif data_dir:
            yield (
                "--data_dir is for GLUE's files: give --train_file and the like with their folders"
            )
        reading = [f"--{name}" for name in _OF_READING if getattr(self, name)]
        if reading and not files:
            yield f"{', '.join(reading)}: there is no file to read so (--train_file, --test_file)"
        for name in files:
            yield from self._wrong_file(name)
        yield from self._wrong_columns()
        yield from self._wrong_labels()
        if self.validation_file and self.validation_share > 0:
            yield "--validation_file and --validation_share are both set: give one of them"

    def missing_files(self, do_train: bool, do_eval: bool, do_predict: bool) -> Iterator[str]:
        """Actions that are asked for without a file to do them on."""
        if do_train and not self.train_file:
            yield "--do_train needs --train_file"
        if do_eval and not self.validation_file and not self.splits_train_file():
            yield "--do_eval needs --validation_file, or --validation_share of --train_file"
        if do_predict and not self.test_file:
            yield "--do_predict needs --test_file"

    def _wrong_file(self, name: str) -> Iterator[str]:
        path = getattr(self, name)
        if not Path(path).is_file():
            yield f"--{name} {path}: " + ("a folder" if Path(path).is_dir() else "no such file")
        elif format_of(path, self.file_format) is None:
            ending = Path(path).suffix
            what = f"the ending {ending} is unknown" if ending else "the name has no ending"
            yield f"--{name} {path}: {what} ({' '.join(_ENDINGS)}); or give --file_format"
        elif self.column_names and format_of(path, self.file_format) in (JSON, JSON_LINES):
            yield (
                f"--column_names is for files without a header, and {path} names its fields itself"
            )

    def _wrong_columns(self) -> Iterator[str]:
        columns = names(self.column_names)
        if len(set(columns)) < len(columns) or "" in columns:
            yield f"--column_names {self.column_names}: give every column a name of its own"
        if self.text_pair_column and not self.text_column:
            yield "--text_pair_column needs --text_column"
        chosen = {
            name: column
            for name in ("text_column", "text_pair_column", "label_column")
            if (column := getattr(self, name))
        }
        for name, column in chosen.items():
            if columns and column not in columns:
                yield f"--{name} {column} is not among --column_names {self.column_names}"
        if len(set(chosen.values())) < len(chosen):
            flags = ", ".join(f"--{name}" for name in chosen)
            yield f"{flags} name the same column: give each its own"

    def _wrong_labels(self) -> Iterator[str]:
        labels = names(self.labels)
        if self.labels and self.regression:
            yield "--labels and --regression contradict each other: a regression has no classes"
        elif self.labels and (len(set(labels)) < len(labels) or "" in labels or len(labels) < 2):
            yield (
                f"--labels {self.labels}: give two or more different names, with commas between "
                "them"
            )
        if self.regression and self.metric in CLASS_METRICS:
            known = ", ".join(SCORE_METRICS)
            yield f"--metric {self.metric} is for classes: a regression has {known}"
        if self.labels and self.metric in SCORE_METRICS:
            known = ", ".join(CLASS_METRICS)
            yield f"--metric {self.metric} is for regressions: classes have {known}"
        if self.metric == "f1" and len(labels) > 2:
            yield f"--metric f1 is for two classes, and --labels has {len(labels)}: give f1_macro"

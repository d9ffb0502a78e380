"""The flags for the labels of a user's own data: a mixin for `GlueArgs` with fields and checks."""

import dataclasses
import math
from collections.abc import Iterator

from bert_paddle.common.flag_fields import OnResume, Results, flag, optional_switch
from bert_paddle.glue import metrics, text_format
from bert_paddle.glue.custom_args import CUSTOM, TASK, CustomDataArgs, split_names
from bert_paddle.glue.task_definition import LABELS, ONE_CLASS, SCORE

# Value of --metric -> name of the metric in all_results.json.
CLASSIFICATION_METRICS = metrics.flag_values(ONE_CLASS)
REGRESSION_METRICS = metrics.flag_values(SCORE)
MULTI_LABEL_METRICS = metrics.flag_values(LABELS)
METRIC_VALUES = {**CLASSIFICATION_METRICS, **REGRESSION_METRICS, **MULTI_LABEL_METRICS}
AUTO = "auto"  # value of --threshold
DEFAULT_THRESHOLD = 0.5


@dataclasses.dataclass
class LabelArgs(CustomDataArgs):
    """What the labels are: classes, scores, or any number of labels for a row."""

    labels: str | None = flag(
        None,
        "a,b,c: the classes in order (default: the distinct labels of the training rows)",
        group=CUSTOM,
        comma_separated=True,
        part=TASK,
    )
    regression: bool = flag(
        False, "labels are numbers to predict, not classes", group=CUSTOM, part=TASK
    )
    label_names: str | None = flag(
        None,
        "x,y,z: names for the classes, in the order of --labels (default: of the sorted labels); "
        "files keep their own spelling",
        group=CUSTOM,
        comma_separated=True,
        part=TASK,
    )
    metric: str | None = flag(
        None,
        "metric that selects the best checkpoint (default: that of the GLUE task, else accuracy; "
        "for regression the mean of pearson and spearman, for several labels per row f1_micro)",
        group=CUSTOM,
        choices=tuple(METRIC_VALUES),
    )
    greater_is_better: bool | None = optional_switch(
        "as the metric says anyway: 0 for loss and mse, 1 for the others",
        group=CUSTOM,
        on_resume=OnResume.FREE,
        results=Results.SAME,
    )
    multi_label: bool = flag(
        False,
        "any number of labels is true of a row: each label is a list (in JSON files, or as JSON "
        "text); implied by --label_separator and --label_columns",
        group=CUSTOM,
        part=TASK,
    )
    label_separator: str | None = flag(
        None,
        "what separates several labels of a row in its label column: any text, or tab, comma, "
        "semicolon, pipe or space",
        group=CUSTOM,
        part=TASK,
    )
    label_columns: str | None = flag(
        None,
        "a,b,c: one column for each label, with 1 in rows of which it is true, else 0",
        group=CUSTOM,
        comma_separated=True,
        part=TASK,
    )
    threshold: str | None = flag(
        None,
        "probability from which on a label is predicted, with several labels per row, or one for "
        "each label: 0.5,0.3,...; auto: of each label the one with the best F1 on the dev set, "
        "saved with the model (default: the model's, 0.5 in training)",
        group=CUSTOM,
        comma_separated=True,
    )

    @property
    def asks_for_multi_label(self) -> bool:
        """Whether the flags say that a row has any number of labels."""
        return bool(self.multi_label or self.label_separator or self.label_columns)

    @property
    def separator(self) -> str | None:
        """The text between the labels of a row; None without --label_separator."""
        return text_format.delimiter_character(self.label_separator)

    @property
    def fits_thresholds(self) -> bool:
        """Whether the thresholds are fitted to the dev set."""
        return self.threshold is not None and self.threshold.strip().lower() == AUTO

    def fixed_thresholds(self) -> tuple[float, ...]:
        """The numbers of --threshold; () if it is not given, or auto."""
        if self.threshold is None or self.fits_thresholds:
            return ()
        return parse_thresholds(self.threshold)

    def label_problems(self) -> Iterator[str]:
        """Problems with these flags and their combination with others, one message each."""
        yield from self._class_problems()
        if self.asks_for_multi_label:
            yield from self._multi_label_problems()

    def _multi_label_problems(self) -> Iterator[str]:
        columns = split_names(self.label_columns)
        if self.regression:
            yield "--regression and several labels per row contradict each other: give one of them"
        if self.metric is not None and self.metric not in MULTI_LABEL_METRICS:
            listed = ", ".join(MULTI_LABEL_METRICS)
            yield f"--metric {self.metric} is for one label per row: choose from {listed}"
        if self.label_separator is not None and not self.separator:
            yield "--label_separator is empty: give what separates the labels"
        if not columns:
            return
        others = {
            "--label_column": self.label_column,
            "--label_separator": self.label_separator,
            "--labels": self.labels,
        }
        if given := [name for name, value in others.items() if value is not None]:
            yield f"--label_columns and {given[0]} are both set: give one of them"
        if len(set(columns)) < len(columns) or "" in columns or len(columns) < 2:
            yield f"--label_columns {self.label_columns}: give two or more distinct names"
        if texts := {self.text_column, self.text_pair_column} & set(columns):
            yield f"--label_columns has {texts.pop()}, which is the column of a text"
        names = split_names(self.column_names)
        for column in columns:
            if names and column not in names:
                yield (f"--label_columns: {column} is not among --column_names {self.column_names}")

    def threshold_problems(self, other_kind: bool, evaluate: bool) -> Iterator[str]:
        """Problems with --threshold, one message each. other_kind: whether it is known that no row
        has several labels; evaluate: whether the run does."""
        if self.threshold is None:
            return
        try:
            self.fixed_thresholds()
        except ValueError as error:
            yield f"--threshold {self.threshold}: {error}, or {AUTO}"
        if other_kind or self.regression:
            yield "--threshold is for several labels per row (--multi_label)"
        elif self.fits_thresholds and not evaluate:
            yield f"--threshold {AUTO} is fitted to the dev set: evaluate too (--do_eval)"

    def _class_problems(self) -> Iterator[str]:
        labels = split_names(self.labels)
        if self.labels and self.regression:
            yield "--labels and --regression contradict each other: regression has no classes"
        elif self.labels and (len(set(labels)) < len(labels) or "" in labels or len(labels) < 2):
            yield f"--labels {self.labels}: give two or more distinct names, separated by commas"
        names = split_names(self.label_names)
        if self.label_names and self.regression:
            yield "--label_names and --regression contradict each other: regression has no classes"
        elif names and (len(set(names)) < len(names) or "" in names or len(names) < 2):
            yield f"--label_names {self.label_names}: give two or more distinct names"
        elif names and labels and len(names) != len(labels):
            yield f"--label_names has {len(names)} names for the {len(labels)} classes of --labels"
        if self.metric is None or self.asks_for_multi_label:
            return
        if self.regression and self.metric not in REGRESSION_METRICS:
            listed = ", ".join(REGRESSION_METRICS)
            yield (
                f"--metric {self.metric} is a classification metric: with --regression choose from "
                f"{listed}"
            )
        if self.labels and self.metric not in CLASSIFICATION_METRICS:
            listed = ", ".join(CLASSIFICATION_METRICS)
            kind = (
                "a regression metric"
                if self.metric in REGRESSION_METRICS
                else ("for several labels per row")
            )
            yield f"--metric {self.metric} is {kind}: choose from {listed}"
        if self.metric == "f1" and len(labels) > 2:
            yield f"--metric f1 is for two classes, and --labels has {len(labels)}: give f1_macro"


def parse_thresholds(text: str) -> tuple[float, ...]:
    """The numbers in "0.5" or "0.5,0.3". Raises ValueError, with a message without the flag's name,
    for anything that is no number between 0 and 1."""
    numbers = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0 < value < 1:
            raise ValueError("give a number between 0 and 1, or one for each label")
        numbers.append(value)
    return tuple(numbers)

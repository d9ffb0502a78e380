"""The flags for the predictions of a --test_file: a mixin for `GlueArgs` with fields and checks."""

import dataclasses
from collections.abc import Iterator

from bert_paddle.common.flag_fields import OnResume, Results, flag
from bert_paddle.glue.custom_args import CUSTOM, split_names
from bert_paddle.glue.label_args import LabelArgs


@dataclasses.dataclass
class PredictionArgs(LabelArgs):
    """What a line of predictions has besides the row's index and prediction."""

    predict_probabilities: bool = flag(
        False,
        "add the probability of every class to the predictions of --test_file (of more than 100 "
        "classes, of the ten most likely)",
        group=CUSTOM,
        on_resume=OnResume.FREE,
        results=Results.ADDED,
    )
    id_column: str | None = flag(
        None,
        "column of --test_file to copy to its predictions, by which rows are recognized",
        group=CUSTOM,
        on_resume=OnResume.FREE,
        results=Results.ADDED,
    )

    def prediction_problems(self) -> Iterator[str]:
        """Problems with these flags and their combination with others, one message each."""
        given = {
            "--predict_probabilities": self.predict_probabilities,
            "--id_column": self.id_column is not None,
        }
        names = [name for name, is_given in given.items() if is_given]
        if names and not self.test_file:
            yield (
                f"{', '.join(names)} is for the predictions of --test_file: files for GLUE's server"
                " have index and prediction only"
            )
        if self.predict_probabilities and self.regression:
            yield "--predict_probabilities is for classes, and --regression predicts numbers"
        columns = split_names(self.column_names)
        if self.id_column is not None and columns and self.id_column not in columns:
            yield f"--id_column {self.id_column} is not among --column_names {self.column_names}"

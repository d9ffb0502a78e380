"""--max_train_samples, --max_eval_samples, --max_predict_samples: only the first rows of a set."""

from dataclasses import replace

from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data.load import RawData
from bert_paddle.glue.data.tsv import Examples


def limit_rows(data: RawData, args: GlueArgs, log: RunLog) -> None:
    """Keep the first rows of each data set, as many as the flags say. Raises DataError for a flag
    that asks for more rows than a set has."""
    limits: list[str] = []

    def first(examples: Examples, flag: str, count: int) -> Examples:
        if count < 0:
            return examples
        if count > len(examples):
            raise DataError(
                f"--{flag} {count}: {examples.source} has {len(examples)} rows: give at most that"
            )
        limits.append(f"the first {count} of {len(examples)} rows of {examples.source}")
        return replace(
            examples,
            texts_a=examples.texts_a[:count],
            texts_b=None if examples.texts_b is None else examples.texts_b[:count],
            labels=None if examples.labels is None else examples.labels[:count],
            ids=None if examples.ids is None else examples.ids[:count],
        )

    if data.train is not None:
        data.train = first(data.train, "max_train_samples", args.max_train_samples)
    data.dev = [
        (dev, first(examples, "max_eval_samples", args.max_eval_samples))
        for dev, examples in data.dev
    ]
    data.test = [
        (task, test_set, first(examples, "max_predict_samples", args.max_predict_samples))
        for task, test_set, examples in data.test
    ]
    if limits:
        log.note(f"data: {'; '.join(limits)}")

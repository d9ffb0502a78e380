"""The digests by which a resumed fine-tuning recognizes its data and model."""

from pathlib import Path

from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.tasks import Task
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.training import fingerprints
from bert_paddle.training.train_state import TRAINING_DATA


def glue_fingerprints(
    task: Task, data: EncodedData, tokenizer: Tokenizer, model_dir: Path
) -> dict[str, str]:
    """{name: digest} of all rows and labels that are read, of the class names in order, the
    tokenizer and the weights to start from; see training.fingerprints."""
    digests = {
        fingerprints.CLASS_NAMES: fingerprints.of_values(task.labels, task.file_labels),
        fingerprints.TOKENIZER: fingerprints.of_tokenizer(tokenizer),
    }
    if weights := fingerprints.of_weights(model_dir):
        digests[fingerprints.INITIAL_MODEL] = weights
    if data.train is not None:
        digests[TRAINING_DATA] = data.train.fingerprint()
    for dev, rows in data.dev:
        digests[f"{dev.name} {fingerprints.DEV_SET}".strip()] = rows.fingerprint()
    for _, test, rows in data.test:
        digests[f"{fingerprints.TEST_SET} {test.submission}"] = rows.fingerprint()
    return digests

"""The digests by which a resumed run recognizes its texts and model."""

from bert_paddle.clm.load import ClmData
from bert_paddle.clm.model_source import ModelSource
from bert_paddle.training import fingerprints
from bert_paddle.training.train_state import TRAINING_DATA


def clm_fingerprints(data: ClmData, source: ModelSource) -> dict[str, str]:
    """{name: digest} of the encoded texts, the tokenizer and the weights to start from; see
    training.fingerprints."""
    digests = {fingerprints.TOKENIZER: fingerprints.of_values(source.tokenizer.digest_values())}
    if source.folder is not None and (weights := fingerprints.of_weights(source.folder)):
        digests[fingerprints.INITIAL_MODEL] = weights
    if data.train is not None:
        digests[TRAINING_DATA] = data.train.fingerprint()
    if data.dev is not None:
        digests[fingerprints.DEV_SET] = data.dev.fingerprint()
    return digests

"""Whether a model's folder is whole, as far as its manifest can tell, before it is used."""

from pathlib import Path

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import WeightsError
from bert_paddle.models import classifier
from bert_paddle.training import checkpoint

# What only a training needs to go on from may be gone, and a model card may be edited.
_FREE = ("state/", "README.md")


def verify_model_dir(folder: Path) -> Path:
    """`folder`, where nothing says that it is not whole.

    Raises WeightsError for a run's folder, which it tells from a model's, for a half-written
    checkpoint (state/ without the manifest, which is written last), and for one whose files are not
    as the manifest says, by size and SHA-256. Of a folder without a manifest, such as a model of
    Hugging Face, nothing is known.
    """
    steps = checkpoint.saved_steps(folder)
    if steps and not (folder / classifier.CONFIG_FILE).is_file():
        newest = checkpoint.checkpoint_dir(folder, steps[-1])
        raise WeightsError(f"{folder} is a run's folder: give one of its models, such as {newest}")
    if not (folder / checkpoint.MANIFEST).is_file():
        if not (folder / checkpoint.STATE).parent.is_dir():
            return folder
        raise WeightsError(
            f"{folder} is no whole checkpoint: it has no {checkpoint.MANIFEST}, which is written "
            "last; give another one"
        )
    needed = (classifier.CONFIG_FILE, classifier.WEIGHTS_FILE)
    if wrong := atomic_files.check_manifest(folder, checkpoint.MANIFEST, needed, but=_FREE):
        raise WeightsError(f"{folder} is no whole checkpoint: {wrong}; give another one")
    return folder

"""Check a model's folder against its manifest before it is used."""

from pathlib import Path

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.errors import WeightsError
from bert_paddle.models import model_state
from bert_paddle.training import checkpoint

# Name prefixes of files that are not checked: the training state may have been deleted, the model
# card edited.
_NOT_CHECKED = ("state/", "README.md")


def verify_model_dir(folder: Path) -> Path:
    """Check that a model's folder is complete; returns `folder`.

    Raises WeightsError for a run's output folder, for a half-written checkpoint (state/ without the
    manifest, which is written last), and for files whose size or SHA-256 differs from the manifest.
    A folder without a manifest, such as a Hugging Face model, is not checked. Raises OSError for a
    file that cannot be read.
    """
    steps = checkpoint.saved_steps(folder)
    if steps and not read_files.is_file(folder / model_state.CONFIG_FILE):
        newest = checkpoint.checkpoint_dir(folder, steps[-1])
        raise WeightsError(f"{folder} is a run's folder: give one of its models, such as {newest}")
    if not read_files.exists(folder / checkpoint.MANIFEST_FILE):
        if not read_files.is_dir((folder / checkpoint.STATE_FILE).parent):
            return folder
        raise WeightsError(
            f"{folder} is not a complete checkpoint: it has no {checkpoint.MANIFEST_FILE} (written "
            "last); give another one"
        )
    required = (model_state.CONFIG_FILE, model_state.WEIGHTS_FILE)
    damage = atomic_files.check_manifest(
        folder, checkpoint.MANIFEST_FILE, required, ignored_prefixes=_NOT_CHECKED
    )
    if damage:
        raise WeightsError(f"{folder} is not a complete checkpoint: {damage}; give another one")
    return folder

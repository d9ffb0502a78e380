"""What is fuzzed: each target writes bytes where a program would read them, and reads them.

The rule for all: it returns, or raises one of the package's own errors with a short text on one
line. Anything else, a crash, an endless loop or a full memory is a finding. No atheris here, so
that the ordinary tests replay every input without it.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bert_paddle.common import run_log
from bert_paddle.common.errors import UserError
from bert_paddle.glue import custom_args
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom import load, task
from bert_paddle.glue.data import tsv as data_tsv
from bert_paddle.glue.tasks import TASKS
from bert_paddle.models import load_weights, model_config, safe_pickle, tokenizer
from bert_paddle.pretrain.data import schema, shards
from bert_paddle.training import checkpoint, resume_check, train_state

LONGEST = 2000  # characters of a message; the longest ones name several files
FILES = (("SST-2", "train"), ("CoLA", "dev"), ("STS-B", "dev"), ("QQP", "train"), ("AX", "test"))
PARTS = (checkpoint.MANIFEST_FILE, checkpoint.STATE_FILE, checkpoint.OPTIMIZER_FILE)
CONFIG = {
    "model_type": "bert",
    "vocab_size": 8,
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 4,
    "max_position_embeddings": 4,
    "id2label": {"0": "no", "1": "yes"},
}


def _put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def tsv(data: bytes, folder: Path) -> None:
    """The first byte picks the task; what is read has to be consistent."""
    task_name, split = FILES[data[0] % len(FILES)] if data else FILES[0]
    examples = data_tsv.read_task_file(TASKS[task_name], _put(folder / "file.tsv", data[1:]), split)
    for column in (examples.texts_b, examples.labels):
        assert column is None or len(column) == len(examples)


def own_file(data: bytes, folder: Path) -> None:
    """The first byte picks the format of a user's own training file."""
    form = custom_args.FORMATS[data[0] % len(custom_args.FORMATS)] if data else custom_args.CSV
    args, out = GlueArgs(file_format=form), run_log.RunLog(active=False)
    content = load.read_file(str(_put(folder / "file", data[1:])), args, load.SavedTask(), out)
    assert content.label_column
    labels = task.infer_labels(content.label_column, args, out)
    examples = content.examples(task.make_task("own", labels, content.columns, None))
    assert examples.labels is not None and len(examples.labels) == len(examples)
    assert examples.texts_b is None or len(examples.texts_b) == len(examples)


def shard(data: bytes, folder: Path) -> None:
    """Header and rows; what is read has the layout's shapes and types."""
    found = shards.check_shards([_put(folder / "a_training_0.hdf5", data)], 100, 512, 2)
    for start in range(0, min(found.total, 128), 64):
        stop = min(start + 64, found.total)
        rows = found.read(0, start, stop)
        for key, dtype in schema.DTYPES.items():
            row = schema.row_shape(key, found.length, found.predictions)
            assert rows[key].dtype == dtype and rows[key].shape == (stop - start, *row)


def sound_checkpoint(folder: Path) -> Path:
    """A small checkpoint, always the same."""
    state = train_state.TrainState(9, 3, best_metric=0.5, window_losses={"loss": [0.5]}, args={})
    tensors = {"w|moment1_0": np.arange(3, dtype=np.float32)}
    return checkpoint.save(folder, state, tensors, lambda _: None)


def saved(data: bytes, folder: Path) -> None:
    """The first byte picks the file of a checkpoint that the rest replaces.

    The manifest is made to agree, since whoever can write the one can write the other.
    """
    if not (folder / "model_3").exists():
        sound_checkpoint(folder)
    contents = {name: (folder / "model_3" / name).read_bytes() for name in PARTS}
    changed = PARTS[data[0] % len(PARTS)] if data else PARTS[0]
    content = dict(contents)
    content[changed] = data[1:]
    if changed != checkpoint.MANIFEST_FILE:
        entries = {
            name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
            for name, text in content.items()
            if name != checkpoint.MANIFEST_FILE
        }
        manifest = {"version": train_state.VERSION, "files": entries}
        content[checkpoint.MANIFEST_FILE] = json.dumps(manifest).encode()
    try:
        for name, text in content.items():
            (folder / "model_3" / name).write_bytes(text)
        checkpoint.latest_complete(folder, lambda _: None)
        state, _ = checkpoint.load(folder / "model_3")
        resume_check.check_same_run(state, state, folder)
    finally:
        for name, text in contents.items():
            (folder / "model_3" / name).write_bytes(text)


def pdparams(data: bytes, folder: Path) -> None:
    """Paddle's pickles: names and plain values come out, or nothing."""
    found = safe_pickle.read_paddle(_put(folder / "model_state.pdparams", data))
    assert all(isinstance(name, str) for name in found)


def torch_bin(data: bytes, folder: Path) -> None:
    """PyTorch's zip behind an odd first byte; behind an even one, the pickle in a sound zip."""
    path = _put(folder / "pytorch_model.bin", data[1:])
    if data and data[0] % 2 == 0:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data[1:])
            archive.writestr("archive/data/0", bytes(range(64)))
    safe_pickle.read_torch(path)


def model_folder(data: bytes, folder: Path) -> None:
    """A folder with a sound configuration and a safetensors file: the bytes behind an odd first
    byte; behind an even one, a file whose header they are."""
    _put(folder / "config.json", json.dumps(CONFIG).encode())
    content = data[1:]
    if data and data[0] % 2 == 0:
        ends = [int(end) for end in re.findall(rb'_offsets":\[\d{1,5},(\d{1,5})\]', content)]
        content = len(content).to_bytes(8, "little") + content + bytes(max(ends, default=0))
    _put(folder / "model.safetensors", content)
    found = load_weights.load_weights(folder)
    wanted = {name: value.shape for name, value in found.tensors.items()}
    load_weights.match_weights(found.tensors, wanted)


def config(data: bytes, folder: Path) -> None:
    """config.json."""
    model_config.read_config_file(_put(folder / "config.json", data))


def vocab(data: bytes, folder: Path) -> None:
    """vocab.txt: what is read can be saved and read again, and a text becomes its ids."""
    _put(folder / "vocab.txt", data)
    _same_again(tokenizer.load_tokenizer(folder), folder / "again")


def tokenizer_json(data: bytes, folder: Path) -> None:
    """tokenizer.json, and tokenizer_config.json behind a NUL byte."""
    (folder / "vocab.txt").unlink(missing_ok=True)
    rust, _, settings = data.partition(b"\0")
    _put(folder / tokenizer.TOKENIZER_CONFIG_FILE, settings or b"{}")
    _put(folder / "tokenizer.json", rust)
    _same_again(tokenizer.load_tokenizer(folder), folder / "again")


def _same_again(tokens: tokenizer.Tokenizer, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    tokens.save(folder)
    assert tokenizer.read_vocab(folder / tokenizer.VOCAB_FILE) == tokens.vocab
    ids = tokens.encode(["A caf\u00e9, \u4e2d\n"], None, 16).input_ids[0]
    assert all(0 <= i < len(tokens) for i in ids)


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "tsv": tsv,
    "own_file": own_file,
    "hdf5": shard,
    "checkpoint": saved,
    "pdparams": pdparams,
    "torch_bin": torch_bin,
    "safetensors": model_folder,
    "config": config,
    "vocab": vocab,
    "tokenizer_json": tokenizer_json,
}


def survives(name: str, data: bytes, folder: Path) -> str | None:
    """Feed one input to a target; the text of the error it answered with, or None."""
    try:
        TARGETS[name](data, folder)
    except UserError as error:
        text = str(error).replace(str(folder), "")
        assert 0 < len(text) <= LONGEST, f"a message of {len(text)} characters"
        return text
    return None

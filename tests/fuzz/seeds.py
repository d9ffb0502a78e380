"""Sound inputs of every target, from which mutations are made."""

import json
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from targets import CONFIG, FILES, PARTS, sound_checkpoint

from bert_paddle.glue.tasks import TASKS
from bert_paddle.models.tokenizer import SPECIAL_TOKENS, Tokenizer

TESTS = Path(__file__).resolve().parents[1]
PIECES = [*SPECIAL_TOKENS, "a", "##b", "\u4e2d"]


def _tsv(folder: Path) -> list[bytes]:
    rows = {
        "SST-2": "sentence\tlabel\na fine film \t1\ndull\t0\n",
        "CoLA": "gj04\t1\t\tBirds sing.\nks08\t0\t*\tSing birds the.",
        "STS-B": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
        "\tscore\n0\tg\tf\ty\t0\ts\ts\tOne.\tTwo.\t3.250\n",
        "QQP": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tWhy?\tHow?\t1\n7\t1\n",
        "AX": "\ufeffLogic\tPremise\tHypothesis\tLabel\r\n\tp\th\tcontradiction\r\n",
    }
    assert set(rows) <= set(TASKS)
    return [bytes([i]) + rows[name].encode() for i, (name, _) in enumerate(FILES)]


def _own_file(folder: Path) -> list[bytes]:
    rows = [
        'sentence\tlabel\nhe said "no"\t1\nyes\t0\n',
        'premise\thypothesis\tscore\r\n"a ""b""\n"\tc\t1.5\r\nd\te\t-2\r\n\r\n',
        '\ufefftext,label\n"a, b",yes\nc,no\n',
        '[{"text": "a", "label": true}, {"text": "\\u00e9", "label": false}]',
        '{"text": "a", "label": 1}\n{"text": "b", "label": 2.5, "more": [null]}\n',
    ]
    return [bytes([i]) + text.encode() for i, text in enumerate(rows)]


def _hdf5(folder: Path) -> list[bytes]:
    import h5py

    sys.path.insert(0, str(TESTS / "support"))
    import shard_files

    path = shard_files.write_shard(folder / "whole.hdf5", shard_files.make_rows(6), chunk_rows=4)
    out = [path.read_bytes()]
    for settings in ({}, {"libver": "latest"}):  # contiguous; and the newer structures
        with h5py.File(folder / "plain.hdf5", "w", **settings) as file:
            for key, values in shard_files.make_rows(2).items():
                file[key] = values.astype("int64")
        out.append((folder / "plain.hdf5").read_bytes())
    return out


def _checkpoint(folder: Path) -> list[bytes]:
    made = sound_checkpoint(folder)
    return [bytes([i]) + (made / name).read_bytes() for i, name in enumerate(PARTS)]


def state_dict() -> dict[str, np.ndarray]:
    """The encoder of one layer and a classifier that fit `targets.CONFIG`, in Paddle's names."""
    shapes = {
        "embeddings.word_embeddings.weight": (8, 4),
        "embeddings.position_embeddings.weight": (4, 4),
        "embeddings.token_type_embeddings.weight": (2, 4),
        "encoder.layers.0.self_attn.q_proj.weight": (4, 4),
        "encoder.layers.0.linear1.weight": (4, 4),
    }
    tensors = {f"bert.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return tensors | {"classifier.weight": np.zeros((4, 2), np.float32)}


def _pdparams(folder: Path) -> list[bytes]:
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([7])}
    nested = {"LR_Scheduler": {"last_epoch": 3, "last_lr": 0.5}, "list": [1, (2, None)]}
    text = pickle.dumps(arrays, 0)
    return [text, *(pickle.dumps(arrays | nested, protocol) for protocol in (2, 4, 5))]


def _torch_bin(folder: Path) -> list[bytes]:
    sys.path.insert(0, str(TESTS / "models"))
    from test_safe_pickle import torch_pickle, write_zip

    text = torch_pickle({"a": ("Float", "0", 0, (2, 1), (1, 1)), "b": ("Half", "0", 1, (), ())})
    path = write_zip(folder / "m.bin", text, {"0": np.arange(2, dtype="<f4").tobytes()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "little")
    return [b"\1" + path.read_bytes(), b"\0" + text.replace(b"V1\n", b"V0\n")]


def _safetensors(folder: Path) -> list[bytes]:
    from safetensors.numpy import save

    from bert_paddle.models.weight_names import to_hf

    small = save({"bert.encoder.layers.0.self_attn.q_proj.weight": np.zeros((1, 1), np.uint16)})
    wholes = [save(state_dict()), save(to_hf(state_dict())), small.replace(b'"U16"', b'"BF16"')]
    headers = [whole[8 : 8 + int.from_bytes(whole[:8], "little")] for whole in wholes]
    return [*(b"\1" + whole for whole in wholes[:2]), *(b"\0" + header for header in headers)]


def _config(folder: Path) -> list[bytes]:
    sizes = {name: value for name, value in CONFIG.items() if isinstance(value, int)}
    nested = {"init_args": [sizes | {"init_class": "BertModel"}, 3], "init_class": "BertModel"}
    more = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "architectures": ["BertModel"]}
    return [json.dumps(content).encode() for content in (CONFIG, nested, sizes | more)]


def _vocab(folder: Path) -> list[bytes]:
    return ["\n".join(PIECES).encode(), "\r\n".join([*PIECES, ""]).encode()]


def _tokenizer_json(folder: Path) -> list[bytes]:
    content = {
        "model": {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(PIECES)}},
        "normalizer": {"type": "BertNormalizer", "lowercase": False, "strip_accents": None},
    }
    Tokenizer(PIECES).save(folder)
    settings = (folder / "tokenizer_config.json").read_bytes()
    text = json.dumps(content).encode()
    return [text, text + b"\0" + settings]


_SEEDS: dict[str, Callable[[Path], list[bytes]]] = {
    "tsv": _tsv,
    "own_file": _own_file,
    "hdf5": _hdf5,
    "checkpoint": _checkpoint,
    "pdparams": _pdparams,
    "torch_bin": _torch_bin,
    "safetensors": _safetensors,
    "config": _config,
    "vocab": _vocab,
    "tokenizer_json": _tokenizer_json,
}


def seeds(name: str) -> list[bytes]:
    """The sound inputs of a target."""
    with tempfile.TemporaryDirectory() as folder:
        return _SEEDS[name](Path(folder))

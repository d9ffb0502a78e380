"""Pickled weights are read exactly, and no code in a malicious one runs."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import pickle_names, safe_pickle

LEGACY = Path(__file__).parents[1] / "reference" / "tiny_hf_legacy.bin"
STATE = {
    "f": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">i4"),
    "half": np.array([1.5, -2], np.float16),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
    "scalar_array": np.array(3, np.int64),
}


class Call:
    """Pickled as a call of `function` with `args`, as an attacker would write it."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


def dump(path: Path, content, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def assert_same(actual: dict, expected: dict) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype.newbyteorder("="), name
        assert actual[name].shape == value.shape
        np.testing.assert_array_equal(actual[name], value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("mapping", [dict, OrderedDict])
def test_reads_arrays_of_every_kind(tmp_path, protocol, mapping):
    # Protocol 2 writes empty bytes as a call of builtins.bytes, which is refused.
    state = {k: v for k, v in STATE.items() if protocol > 2 or v.size}
    content = mapping(state) | {"StructuredToParameterName@@": {"f": "linear_0.w_0"}}
    assert_same(safe_pickle.read_paddle(dump(tmp_path / "m.pdparams", content, protocol)), state)


def test_numpy_2_spelling(tmp_path):
    text = pickle.dumps({"f": STATE["f"]}, 2).replace(b"numpy.core.", b"numpy._core.")
    assert b"numpy._core." in text
    (tmp_path / "m.pdparams").write_bytes(text)
    assert_same(safe_pickle.read_paddle(tmp_path / "m.pdparams"), {"f": STATE["f"]})


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reads_what_paddle_saves(tmp_path, protocol):
    import paddle

    layer = paddle.nn.Linear(3, 2)
    schedule = paddle.optimizer.lr.LinearWarmup(0.1, 3, 0.0, 0.1)
    adam = paddle.optimizer.AdamW(schedule, parameters=layer.parameters())
    layer(paddle.ones([1, 3])).sum().backward()
    adam.step()
    schedule.step()
    paddle.save(layer.state_dict(), str(tmp_path / "m.pdparams"), protocol=protocol)
    paddle.save(adam.state_dict(), str(tmp_path / "m.pdopt"), protocol=protocol)
    parameters = safe_pickle.read_paddle(tmp_path / "m.pdparams")
    assert_same(parameters, {k: v.numpy() for k, v in layer.state_dict().items()})
    moments = safe_pickle.read_paddle(tmp_path / "m.pdopt")
    expected = dict(adam.state_dict())
    assert moments.pop("LR_Scheduler") == expected.pop("LR_Scheduler")
    assert_same(moments, {k: v.numpy() for k, v in expected.items()})


def test_paddles_bfloat16_is_returned_as_bits(tmp_path):
    import paddle

    paddle.save({"w": paddle.to_tensor([1.0, -2.0]).astype("bfloat16")}, str(tmp_path / "m"))
    loaded = safe_pickle.read_paddle(tmp_path / "m")["w"]
    assert loaded.dtype == np.uint16
    assert loaded.tolist() == [0x3F80, 0xC000]


MALICIOUS = {
    "posix.system": lambda mark: Call(os.system, f"touch {mark}"),
    "builtins.eval": lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"),
    "builtins.getattr": lambda mark: Call(getattr, np.zeros(1), "tofile"),
    "numpy.fromfile": lambda mark: Call(np.fromfile, str(mark)),
    "numpy.load": lambda mark: Call(np.load, str(mark)),
    "numpy.core.multiarray.fromfile": lambda mark: b"cnumpy.core.multiarray\nfromfile\n.",
    # Protocol 4 resolves dotted names: here attributes of an allowed module.
    "numpy.ndarray.tofile": lambda mark: b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "numpy.core.multiarray._reconstruct.__self__": lambda mark: (
        b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x15_reconstruct.__self__\x93."
    ),
    "collections.namedtuple": lambda mark: b"ccollections\nnamedtuple\n.",
    "builtins.bytearray": lambda mark: Call(bytearray, 10**12),
}


@pytest.mark.parametrize("name", MALICIOUS)
@pytest.mark.parametrize("form", ["paddle", "torch"])
def test_malicious_file_is_refused_and_nothing_runs(tmp_path, name, form):
    mark = tmp_path / "ran"
    content = MALICIOUS[name](mark)
    text = content if isinstance(content, bytes) else pickle.dumps({"w": content}, 2)
    text = text.replace(b"__builtin__\n", b"builtins\n")
    file = tmp_path / "weights"
    if form == "paddle":
        file.write_bytes(text)
    else:
        write_zip(file, text, {})
    with pytest.raises(WeightsError) as caught:
        (safe_pickle.read_paddle if form == "paddle" else safe_pickle.read_torch)(file)
    assert str(caught.value).startswith(f"refused: {file} tries to call {name}, which")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("target", "attribute"),
    [("_codecs\nencode", "__new__"), ("numpy\ndtype", "make"), ("numpy\nndarray", "__init__")],
)
def test_a_pickle_cannot_change_the_unpickler(tmp_path, target, attribute):
    # BUILD with (None, {name: value}) sets attributes on the object below it, here on the class
    # that was looked up; the change would persist for every file read afterwards.
    text = f"c{target}\n(N}}V{attribute}\ncbuiltins\ntuple\nstb."
    (tmp_path / "m").write_text(text)
    before = {name: dict(vars(part)) for name, part in pickle_names.NUMPY.items()}
    with pytest.raises(WeightsError, match="damaged"):
        safe_pickle.read_paddle(tmp_path / "m")
    assert {name: dict(vars(part)) for name, part in pickle_names.NUMPY.items()} == before
    valid = {"f": STATE["f"]}
    assert_same(safe_pickle.read_paddle(dump(tmp_path / "valid", valid, 2)), valid)


@pytest.mark.parametrize(
    "content",
    [
        {"w": np.array([object()], dtype=object)},
        {"w": np.array(["text"])},
        {"w": np.zeros(2, dtype=[("a", "f4"), ("b", "f4")])},
    ],
    ids=["object", "text", "record"],
)
def test_non_numeric_arrays_are_refused(tmp_path, content):
    with pytest.raises(WeightsError):
        safe_pickle.read_paddle(dump(tmp_path / "m", content))


@pytest.mark.parametrize("end", [0, 1, 40, -5])
def test_truncated_file(tmp_path, end):
    text = pickle.dumps(STATE, 4)
    (tmp_path / "m").write_bytes(text[:end])
    with pytest.raises(WeightsError, match="damaged or incomplete"):
        safe_pickle.read_paddle(tmp_path / "m")


def test_no_state_dict(tmp_path):
    with pytest.raises(WeightsError, match="contains a list"):
        safe_pickle.read_paddle(dump(tmp_path / "m", [1, 2]))


def torch_pickle(entries: dict[str, tuple[str, str, int, tuple, tuple]]) -> bytes:
    """A handwritten pickle of a state dict: {name: (storage type, key, offset, shape, strides)}."""
    out = b"\x80\x02ccollections\nOrderedDict\n)R("
    for name, (storage_type, key, offset, shape, strides) in entries.items():
        pid = b"(Vstorage\nctorch\n%sStorage\nV%s\nVcpu\nI9\ntQ" % (
            storage_type.encode(),
            key.encode(),
        )
        numbers = b"I%d\n" % offset + _numbers(shape) + _numbers(strides)
        rebuilt = b"(" + pid + numbers + b"\x89ccollections\nOrderedDict\n)RtR"
        out += b"V%s\nctorch._utils\n_rebuild_tensor_v2\n" % name.encode() + rebuilt
    # torch sets _metadata on the OrderedDict.
    return out + b"u}V_metadata\n}sb."


def _numbers(values) -> bytes:
    return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"


def write_zip(
    path: Path, text: bytes, storages: dict[str, bytes], compression=zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", text)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def test_torch_views_and_types(tmp_path):
    numbers = np.arange(6, dtype="<f4")
    text = torch_pickle(
        {
            "plain": ("Float", "0", 0, (2, 3), (3, 1)),
            "transposed": ("Float", "0", 0, (3, 2), (1, 3)),
            "row": ("Float", "0", 3, (3,), (1,)),
            "number": ("Float", "0", 5, (), ()),
            "half": ("Half", "1", 0, (2,), (1,)),
            "bits": ("BFloat16", "1", 0, (2,), (1,)),
            "ids": ("Long", "2", 0, (1, 2), (2, 1)),
        }
    )
    half = np.array([1, -2], "<f2")
    path = tmp_path / "m.bin"
    write_zip(
        path, text, {"0": numbers.tobytes(), "1": half.tobytes(), "2": np.arange(2).tobytes()}
    )
    expected = {
        "plain": numbers.reshape(2, 3),
        "transposed": numbers.reshape(2, 3).T,
        "row": numbers[3:],
        "number": np.float32(5).reshape(()),
        "half": half,
        "bits": half.view(np.uint16),
        "ids": np.arange(2).reshape(1, 2),
    }
    loaded = safe_pickle.read_torch(path)
    assert_same(loaded, expected)
    assert all(value.flags.c_contiguous for value in loaded.values())


@pytest.mark.parametrize(
    "view",
    [(4, (3,), (1,)), (0, (2, 3), (4, 1)), (0, (2,), (-1,)), (-1, (1,), (1,)), (0, (999,), (0,))],
    ids=["offset", "stride", "backwards", "before", "endless"],
)
def test_torch_view_outside_its_storage(tmp_path, view):
    text = torch_pickle({"w": ("Float", "0", *view)})
    path = write_zip(tmp_path / "m.bin", text, {"0": np.zeros(6, "<f4").tobytes()})
    with pytest.raises(WeightsError, match="strides|beyond its storage"):
        safe_pickle.read_torch(path)


def test_torch_compressed_or_without_data(tmp_path):
    text = torch_pickle({"w": ("Float", "0", 0, (1,), (1,))})
    compressed = write_zip(tmp_path / "a.bin", text, {"0": bytes(4)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed"):
        safe_pickle.read_torch(compressed)
    with pytest.raises(WeightsError, match="damaged"):
        safe_pickle.read_torch(write_zip(tmp_path / "b.bin", text, {}))
    with pytest.raises(WeightsError, match="not a zip file"):
        safe_pickle.read_torch(dump(tmp_path / "c.bin", STATE))


def test_torch_format_before_1_6(tmp_path):
    with pytest.raises(WeightsError, match="before version 1.6.*safetensors"):
        safe_pickle.read_torch(LEGACY)

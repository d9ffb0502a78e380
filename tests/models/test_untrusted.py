"""Untrusted files: no code of theirs runs, and no small file fills the memory."""

import ast
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from test_safe_pickle import torch_pickle, write_zip

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import safe_pickle

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    [*ROOT.glob("*.py"), *ROOT.glob("bert_paddle/**/*.py"), *ROOT.glob("scripts/*.py")]
)
RUNS_CODE = {
    *"eval exec compile __import__ os.system os.popen pickle.load pickle.loads paddle.load".split(),
    *"np.load numpy.load torch.load yaml.load marshal.loads shelve.open runpy.run_path".split(),
}
METHODS = {"from_pretrained", "extractall", "extract", "get_checkpoint_shard_files"}
MODULES = set("torch joblib yaml marshal shelve dill cloudpickle runpy code codeop".split())
ARGUMENTS = {"shell", "allow_pickle", "trust_remote_code"}


def unsafe_names(path: Path) -> set[str]:
    """Calls, imports and arguments in a source file that could run code of a file it reads."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found |= {name} & RUNS_CODE | {name.rpartition(".")[2]} & METHODS
            found |= {keyword.arg for keyword in node.keywords} & ARGUMENTS
            if name.startswith(("os.exec", "os.spawn")) or name.endswith("import_module"):
                found.add(name)
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & (MODULES | {"pickle"})
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0]} & (MODULES | {"pickle"})
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_file_can_run_code_of_a_file(path):
    allowed = {
        # Its unpickler allows arrays, paths and dataclasses; the modules are this package's.
        "bert_paddle/distributed/values.py": {"pickle", "importlib.import_module"},
        "bert_paddle/distributed/launch.py": {
            "importlib.import_module"
        },  # of our two programs' names
        # Of a table's names, or of a literal of ours.
        "bert_paddle/cli/__init__.py": {"importlib.import_module"},
        "bert_paddle/cli/selfcheck/child.py": {"importlib.import_module"},
        "bert_paddle/common/extras.py": {"importlib.import_module"},
        "bert_paddle/pretrain/create/compressed_files.py": {"importlib.import_module"},
        "bert_paddle/cli/completion.py": {"importlib.import_module", "shell"},  # bash or zsh
        "bert_paddle/common/config_file.py": {"yaml"},  # plain nodes: no object is built
        "bert_paddle/training/model_card.py": {"yaml", "yaml.load"},  # by a SafeLoader
        "bert_paddle/glue/data/encoded_cache.py": {
            "np.load"
        },  # arrays of our own cache, no pickles
        # What has just been exported is loaded by the program that it is for, in a process of its
        # own: safetensors, and no code of the folder.
        "bert_paddle/export/check.py": {"np.load"},
        "bert_paddle/export/checker/__main__.py": {
            "importlib.import_module",
            "from_pretrained",
            "torch",
            "np.load",
        },
    }
    assert unsafe_names(path) == allowed.get(path.relative_to(ROOT).as_posix(), set())


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.load(f)",
        "np.load(f, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
        "eval(x)",
        "AutoModel.from_pretrained(x)",
        "importlib.import_module(x)",
        "archive.extractall()",
    ],
)
def test_unsafe_names_are_detected(tmp_path, text):
    (tmp_path / "x.py").write_text(text)
    assert unsafe_names(tmp_path / "x.py")


def test_no_shell_script_evaluates_its_input():
    for path in [*ROOT.glob("scripts/*.sh"), ROOT / ".ci" / "run"]:
        lines = path.read_text(encoding="utf-8").splitlines()
        code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        assert not re.search(r"(^|[;&|(]\s*)\s*eval\s+[\"'$]|\|\s*(ba)?sh\b", code, re.M), path


# Pickles

NAMES = """os system|posix system|nt system|subprocess Popen|subprocess check_output|builtins exec
builtins eval|__builtin__ eval|builtins __import__|builtins compile|builtins open|io open
operator attrgetter|operator methodcaller|functools partial|types FunctionType|types CodeType
pickle loads|_pickle loads|marshal loads|importlib import_module|runpy run_path|codecs lookup
copyreg _reconstructor|copy_reg _reconstructor|collections defaultdict|sys modules|shutil rmtree
numpy load|numpy frompyfunc|numpy.testing._private.utils runstring|numpy.core._internal _ctypes
numpy.core.multiarray fromfile|numpy.core.multiarray frombuffer|torch load|torch.hub load
torch.storage _load_from_bytes|torch._utils _rebuild_sparse_tensor|paddle load|pydoc pipepager
bdb Bdb|webbrowser open|socket socket|multiprocessing Process
bert_paddle.common.atomic_files write_text"""
UNSAFE_NAMES = [tuple(name.split()) for name in re.split(r"[|\n]", NAMES)]


def pickled_call(module: str, name: str, opcode: str) -> bytes:
    """A pickle that calls module.name("x") with one of the opcodes for that."""
    if opcode == "INST":
        return f"(Vx\ni{module}\n{name}\n.".encode()
    if opcode == "OBJ":
        return f"(c{module}\n{name}\nVx\no.".encode()
    if opcode == "NEWOBJ":
        return b"\x80\x02" + f"c{module}\n{name}\n(Vx\nt".encode() + b"\x81."
    if opcode == "STACK_GLOBAL":
        names = b"".join(b"\x8c" + bytes([len(n)]) + n.encode() for n in (module, name))
        return b"\x80\x04" + names + b"\x93(Vx\ntR."
    return f"c{module}\n{name}\n(Vx\ntR.".encode()


@pytest.mark.parametrize("form", ["paddle", "torch"])
@pytest.mark.parametrize("opcode", ["REDUCE", "INST", "OBJ", "NEWOBJ", "STACK_GLOBAL"])
def test_every_reference_to_a_name_is_refused_before_lookup(tmp_path, opcode, form):
    for module, name in UNSAFE_NAMES:
        text = pickled_call(module, name, opcode)
        if form == "paddle":
            (tmp_path / "m").write_bytes(text)
        else:
            write_zip(tmp_path / "m", text, {})
        with pytest.raises(WeightsError) as caught:
            (safe_pickle.read_paddle if form == "paddle" else safe_pickle.read_torch)(
                tmp_path / "m"
            )
        # Older protocols use Python 2's names of builtins and copyreg.
        renamed = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        assert f"tries to call {renamed}.{name}, which" in str(caught.value).replace(
            module, renamed
        )


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
DTYPE = b"cnumpy\ndtype\n(V%s\nI0\nI1\ntR(I3\nV|\nNNNI-1\nI-1\nI63\ntb"


def numpy_pickle(dtype: bytes, data: bytes) -> bytes:
    return b"}Vw\n" + ARRAY + b"(I1\n(I1\nt" + DTYPE % dtype + b"I00\n" + data + b"tbs."


@pytest.mark.parametrize(
    "text",
    [
        b"Poutside\n.",
        b"Voutside\nQ.",
        b"\x80\x02\x82\x01.",
        b"\x80\x05\x97.",
        numpy_pickle(b"O8", b"(lcos\nsystem\na"),
        numpy_pickle(b"O8", b"Vxxxxxxxx\n"),
        numpy_pickle(b"V8", b"Vxxxxxxxx\n"),
        numpy_pickle(b"M8[ns]", b"Vxxxxxxxx\n"),
        numpy_pickle(b"f4, os.system", b"Vxxxx\n"),
        b"}I2147483648\nI2\ns.",
        b"}cnumpy\ndtype\nI1\ns.",
        b"}Vw\ncnumpy\ndtype\n(Vf4\ntR}Vmake\ncbuiltins\ntuple\nsbs.",
        b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        b"I" + b"9" * 10_000 + b"\n.",
    ],
    ids="persistent binary-persistent extension buffer object-code object void dates record-dtype "
    "key-number key-object altered-method deep long-number".split(),
)
def test_other_malicious_pickles(tmp_path, text):
    (tmp_path / "m").write_bytes(text)
    with pytest.raises(WeightsError, match="damaged or incomplete|refused"):
        safe_pickle.read_paddle(tmp_path / "m")


def test_numpy_pickle_with_a_numeric_type_is_read(tmp_path):
    (tmp_path / "m").write_bytes(numpy_pickle(b"f8", b"Vxxxxxxxx\n"))
    assert safe_pickle.read_paddle(tmp_path / "m")["w"].dtype == np.float64


def test_names_from_a_pickle_are_truncated_and_escaped(tmp_path):
    (tmp_path / "m").write_bytes(pickled_call("os\x1b[2J", "x" * 100_000, "REDUCE"))
    with pytest.raises(WeightsError) as caught:
        safe_pickle.read_paddle(tmp_path / "m")
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 500


# Small files that would fill the memory


def one_array_under_many_names(count: int) -> bytes:
    array = pickle.dumps(np.zeros(100_000, np.float32), 2)[2:-1]
    number = struct.pack("<I", 4000)  # of the array in the memo
    out = b"\x80\x02}(" + array + b"r" + number + b"1"
    return out + b"".join(b"V%d\nj%ss" % (i, number) for i in range(count)) + b"."


def nested_lists(depth: int) -> bytes:
    out = b"\x80\x02]q\0(K\1K\2e0"
    for i in range(1, depth):
        out += b"]q" + bytes([i]) + b"(" + (b"h" + bytes([i - 1])) * 200 + b"e0"
    return out + b"}V1\nh" + bytes([depth - 1]) + b"s."


def repeated_call(name: bytes, count: int) -> bytes:
    """Copies a list of pairs `count` times, if the call copies its argument."""
    pairs = b"\x80\x02](" + b"".join(b"U\x06%06dK\0\x86" % i for i in range(count // 5)) + b"e"
    call = name + b"h\0\x85R"
    return pairs + b"q\0" + name + b"q\1" + b"h\1h\0\x85R0" * (count // 5) + call + b"."


def repeated_state(count: int) -> bytes:
    """Updates the attributes of an object by a large dict, again and again."""
    state = b"}(" + b"".join(b"U\x06%06dK\0" % i for i in range(count)) + b"uq\0"
    return b"\x80\x02" + state + b"c_codecs\nencode\nU\0\x85R" + b"h\0b" * count + b"."


def nested_tuples(depth: int) -> bytes:
    """A tuple of two tuples of two tuples ...: its hash and its repr take 2**depth operations."""
    return b")" + b"".join(b"2\x86" for _ in range(depth))


def nested_key(depth: int) -> bytes:
    return b"\x80\x02}" + nested_tuples(depth) + b"K\0s."


def nested_code(depth: int) -> bytes:
    dtype = b"cnumpy\ndtype\n" + nested_tuples(depth) + b"\x85R"
    return b"\x80\x02}U\1wcnumpy.core.numeric\n_frombuffer\n(U\4xxxx" + dtype + b"K\1U\1CtRs."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one_array_under_many_names(200), "far more memory than the file"),
        (nested_lists(7), "far more memory than the file"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "memo index"),
        (b"}p2000000000\n.", "memo index"),
        (repeated_call(b"c__builtin__\ntuple\n", 1_000_000), "pickle operations or more"),
        (repeated_state(100_000), "a state where there is none"),
        (nested_key(60), "a key that is not a string"),
        (nested_code(60), "an array without a dtype"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "damaged"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"x.", "damaged"),
    ],
    ids="array-named-often lists-of-lists memo memo-text tuple state key code bytes "
    "bytearray".split(),
)
def test_small_pickle_does_not_fill_the_memory(tmp_path, text, message):
    (tmp_path / "m").write_bytes(text)
    with pytest.raises(WeightsError, match=message):
        safe_pickle.read_paddle(tmp_path / "m")


def test_calls_do_not_copy_their_arguments(tmp_path):
    """Which would take minutes here: 20,000 calls with a list of 20,000 pairs."""
    (tmp_path / "m").write_bytes(repeated_call(b"ccollections\nOrderedDict\n", 100_000))
    assert len(safe_pickle.read_paddle(tmp_path / "m")) == 20_000


def test_an_array_may_have_two_names(tmp_path):
    """As tied weights have."""
    (tmp_path / "m").write_bytes(one_array_under_many_names(2))
    loaded = safe_pickle.read_paddle(tmp_path / "m")
    assert [value.shape for value in loaded.values()] == [(100_000,)] * 2


def test_torch_storage_referenced_too_often_is_refused(tmp_path):
    storage = {"0": bytes(400_000)}
    for count, fits in ((2, True), (50, False)):
        names = {f"w{i}": ("Float", "0", 0, (100_000,), (1,)) for i in range(count)}
        write_zip(tmp_path / "m", torch_pickle(names), storage)
        if fits:
            assert len(safe_pickle.read_torch(tmp_path / "m")) == count
        else:
            with pytest.raises(WeightsError, match="far more memory"):
                safe_pickle.read_torch(tmp_path / "m")


def test_the_limit_of_operations_can_be_raised(tmp_path, monkeypatch):
    (tmp_path / "m").write_bytes(numpy_pickle(b"f8", b"Vxxxxxxxx\n"))
    monkeypatch.setenv("BERT_PADDLE_MAX_PICKLE_OPERATIONS", "20")
    with pytest.raises(WeightsError, match="21 pickle operations or more, and 20 are allowed"):
        safe_pickle.read_paddle(tmp_path / "m")
    monkeypatch.setenv("BERT_PADDLE_MAX_PICKLE_OPERATIONS", "100")
    assert safe_pickle.read_paddle(tmp_path / "m").keys() == {"w"}

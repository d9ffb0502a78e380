import hashlib
import os
import shutil
import subprocess

import forks
import numpy as np
import pytest
import test_kernels_encoder as encoder_cases

from bert_paddle.common import run_log
from bert_paddle.glue import loss
from bert_paddle.glue.args import parse_args
from bert_paddle.models import paddlenlp_bert
from bert_paddle.models.kernels import adamw_base, compile_kernels, dispatch
from bert_paddle.training.step import Trainer


@pytest.fixture(scope="module")
def compiler(tmp_path_factory) -> str:
    """gcc without optimization, which takes a tenth of the time."""
    script = tmp_path_factory.mktemp("compiler") / "gcc"
    script.write_text('#!/bin/bash\nexec gcc "${@/#-O3/-O0}"\n')
    script.chmod(0o755)
    return str(script) if shutil.which("gcc") else ""


@pytest.fixture(autouse=True)
def _fast_compiler(monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)


@pytest.fixture
def cache_dir(monkeypatch, tmp_path):
    """An empty cache of compiled kernels, with nothing loaded from it yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compile_kernels.load_kernels.cache_clear()
    yield tmp_path / "cache" / "bert_paddle" / "kernels"
    compile_kernels.load_kernels.cache_clear()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory, compiler):
    """A cache with the compiled library."""
    cache = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        monkeypatch.setenv("CC", compiler)
        compile_kernels.load_kernels.cache_clear()
        kernels, reason = compile_kernels.load_kernels()
    compile_kernels.load_kernels.cache_clear()
    if kernels is None:
        pytest.skip(f"no kernels: {reason}")
    return cache


@pytest.fixture
def filled_cache_dir(cache_dir, compiled):
    """A cache of its own with the compiled library, with nothing loaded from it yet."""
    shutil.copytree(compiled, cache_dir.parents[1])
    return cache_dir


def make_model():
    bert = paddlenlp_bert.bert_module()
    sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return bert.BertForSequenceClassification(bert.BertConfig(**sizes, intermediate_size=8))


def test_compiled_once(cache_dir, monkeypatch):
    if compile_kernels.load_kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.load_kernels()[1]}")
    assert [path.suffix for path in cache_dir.iterdir()] == [".so"]
    compile_kernels.load_kernels.cache_clear()
    monkeypatch.setattr(compile_kernels, "_compile", None)  # would fail if it were called
    assert compile_kernels.load_kernels()[0] is not None


def test_unwritable_cache(cache_dir, monkeypatch, tmp_path):
    if compile_kernels.load_kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.load_kernels()[1]}")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compile_kernels.load_kernels.cache_clear()
    assert compile_kernels.load_kernels()[0] is not None


@pytest.mark.parametrize("part", ["folder", "library", "relative"])
def test_planted_library_is_not_loaded(filled_cache_dir, tmp_path, part):
    """The name and the digest of a library can be computed: only its owner and mode tell whose it
    is. The planted one speaks when it is loaded, which a new process does."""
    (library,) = filled_cache_dir.iterdir()
    source = tmp_path / "planted.c"
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) void f(void) {"
        'fputs("planted code ran", stderr);}\n'
    )
    planted = tmp_path / "planted.so"
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", planted], check=True)
    content = planted.read_bytes()
    library.unlink()
    library.write_bytes(content + hashlib.sha256(content).digest())
    environment = dict(os.environ)
    if part == "relative":
        environment |= {"XDG_CACHE_HOME": "cache", "HOME": str(tmp_path / "home")}
    else:
        (filled_cache_dir if part == "folder" else library).chmod(0o777)
    code = (
        "from bert_paddle.models import paddlenlp_bert; bert = paddlenlp_bert.bert_module(); "
        "from bert_paddle.common import run_log; from bert_paddle.models.kernels import dispatch; "
        "sizes = dict(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1); "
        "model = bert.BertForPretraining(bert.BertConfig(**sizes, intermediate_size=8)); "
        "assert dispatch.choose_kernels(model, True, run_log.RunLog())"
    )
    process = forks.start(["-c", code], tmp_path, environment)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "planted code" not in err
    warning = "kernels are compiled for this run alone: "
    warning += f"{filled_cache_dir} can be written by other users"
    assert (warning in err) == (part == "folder")
    if part == "library":  # replaced
        assert library.stat().st_mode & 0o777 == 0o700


def test_unloadable_library_is_recompiled(filled_cache_dir, monkeypatch):
    (library,) = filled_cache_dir.iterdir()
    library.unlink()
    library.write_bytes(b"\x7fELF")
    compile_kernels.load_kernels.cache_clear()
    load = compile_kernels.Kernels

    def load_as_a_new_process(path):  # this process has the library loaded already
        if path.stat().st_size < 100:
            raise OSError(f"{path}: file too short")
        return load(path)

    monkeypatch.setattr(compile_kernels, "Kernels", load_as_a_new_process)
    assert compile_kernels.load_kernels()[0] is not None
    assert library.stat().st_size > 1000


@pytest.mark.parametrize(
    "keep", [0, -1, *(pytest.param(n, marks=pytest.mark.slow) for n in (64, 4096, 16384, -40))]
)
def test_truncated_library_is_recompiled(filled_cache_dir, tmp_path, keep):
    """In a new process, which would be killed at a missing page."""
    (library,) = filled_cache_dir.iterdir()
    complete = library.read_bytes()
    library.unlink()  # not truncated in place: this process has it mapped
    library.write_bytes(complete[:keep])
    code = (
        "from bert_paddle.models import paddlenlp_bert; paddlenlp_bert.bert_module(); "
        "from bert_paddle.models.kernels.compile_kernels import load_kernels; "
        "assert load_kernels()[0], load_kernels()[1]"
    )
    process = forks.start(["-c", code], tmp_path, dict(os.environ))
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert library.stat().st_size == len(complete)


def test_same_processor_name_with_other_instructions_recompiles(filled_cache_dir, monkeypatch):
    monkeypatch.setattr(compile_kernels.hardware, "instruction_sets", lambda: "fpu sse")
    compile_kernels.load_kernels.cache_clear()
    assert compile_kernels.load_kernels()[0] is not None
    assert len(list(filled_cache_dir.iterdir())) == 2


@pytest.mark.parametrize("option", ["-mno-avx", "-mno-avx512f"])
def test_processors_with_other_vectors(cache_dir, monkeypatch, compiler, option):
    """Tiles of other sizes give the same results up to rounding."""
    model, batch = encoder_cases.make_model(), encoder_cases.make_batch([33, 17, 5])
    layers = loss.forward_pass(model, by_kernels=False)(batch).numpy()
    monkeypatch.setenv("CC", f"{compiler or 'gcc'} {option}")
    if compile_kernels.load_kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.load_kernels()[1]}")
    np.testing.assert_allclose(
        loss.forward_pass(model, by_kernels=True)(batch).numpy(), layers, rtol=1e-4, atol=1e-5
    )


def test_a_model_uses_them(filled_cache_dir):
    model = make_model()
    for chosen in (False, True):
        assert dispatch.choose_kernels(model, chosen, run_log.RunLog()) == chosen


def test_all_ranks_use_the_same_encoder(filled_cache_dir, monkeypatch, capsys):
    monkeypatch.setattr(
        dispatch.collectives, "all_gather", lambda value: [value, "no C compiler found"]
    )
    model = make_model()
    assert not dispatch.choose_kernels(model, True, run_log.RunLog())
    assert "rank 1 cannot use them: no C compiler found" in capsys.readouterr().err
    args = parse_args("--task_name sst2 --model_name_or_path m --output_dir o".split())
    trainer = Trainer(
        model, loss.objective(), args, False, run_log.RunLog(), loss.forward_pass(model, False)
    )
    # AdamW too is Paddle's own, not ours.
    assert not isinstance(trainer.optimizer, adamw_base.batched_adamw_class())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "no C compiler found"),
        ("echo no such option >&2; exit 1", "no such option"),
        ("exit 3", "exit status 3"),
        ("echo >&2; exit 4", "exit status 4"),
        ("echo mind this >&2; echo 'k.c:1: error: no disk' >&2; exit 1", "k.c:1: error: no disk"),
        (r"printf 'b\377d' >&2; exit 1", "b\ufffdd"),
    ],
)
def test_without_a_working_compiler_paddlenlp_layers_are_used(
    cache_dir, monkeypatch, tmp_path, capsys, script, reason
):
    compiler = tmp_path / "compiler"
    if script:
        compiler.write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(compiler, 0o755)
    monkeypatch.setenv("CC", f"{compiler} -m64")
    model = make_model()
    assert not dispatch.choose_kernels(model, True, run_log.RunLog())
    assert reason in capsys.readouterr().err
    assert not dispatch.choose_kernels(model, False, run_log.RunLog())
    assert "--cpu_kernels 0" in capsys.readouterr().err


@pytest.mark.parametrize(("cc", "reason"), [('gcc "', "No closing quotation"), ("''", "")])
def test_cc_without_a_compiler_name(cache_dir, monkeypatch, cc, reason):
    monkeypatch.setenv("CC", cc)
    kernels, message = compile_kernels.load_kernels()
    if "no C compiler found (gcc or" in message:
        pytest.skip(message)
    # An empty name counts as unset.
    assert (kernels is None) == bool(reason) and reason in message


def test_full_cache(cache_dir, monkeypatch):
    """The compiler fails in the cache folder and is run again in a temporary one."""
    real_compile = compile_kernels._compile

    def compile_or_fail_in_cache(compiler, openmp_library, scratch):
        if cache_dir in scratch.parents:
            raise subprocess.CalledProcessError(1, compiler, stderr="No space left on device")
        return real_compile(compiler, openmp_library, scratch)

    monkeypatch.setattr(compile_kernels, "_compile", compile_or_fail_in_cache)
    kernels, reason = compile_kernels.load_kernels()
    assert kernels is not None or "no C compiler" in reason


def test_paddle_without_openmp_library(cache_dir, monkeypatch, tmp_path):
    """As on processors for which PaddlePaddle is built without MKL."""
    import paddle

    monkeypatch.setattr(paddle, "__file__", str(tmp_path / "paddle" / "__init__.py"))
    kernels, reason = compile_kernels.load_kernels()
    assert kernels is None and ("libiomp5" in reason or "no C compiler" in reason)

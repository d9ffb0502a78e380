import os
import subprocess
import sys

import pytest

from bert_paddle.common import run_log
from bert_paddle.glue.args import parse_args
from bert_paddle.models import paddlenlp_bert
from bert_paddle.models.kernels import compile_kernels, dispatch
from bert_paddle.training import optim


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a new process, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compile_kernels.kernels.cache_clear()
    yield tmp_path / "cache" / "bert_paddle" / "kernels"
    compile_kernels.kernels.cache_clear()


def a_model():
    bert = paddlenlp_bert.bert_module()
    sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return bert.BertForSequenceClassification(bert.BertConfig(**sizes, intermediate_size=8))


def test_compiled_once(fresh, monkeypatch):
    if compile_kernels.kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.kernels()[1]}")
    assert [path.suffix for path in fresh.iterdir()] == [".so"]
    compile_kernels.kernels.cache_clear()
    monkeypatch.setattr(compile_kernels, "_compile", None)  # would fail if it were called
    assert compile_kernels.kernels()[0] is not None


def test_a_cache_that_cannot_be_written(fresh, monkeypatch, tmp_path):
    if compile_kernels.kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.kernels()[1]}")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compile_kernels.kernels.cache_clear()
    assert compile_kernels.kernels()[0] is not None


def test_a_library_that_cannot_be_loaded_is_made_again(fresh, monkeypatch):
    if compile_kernels.kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.kernels()[1]}")
    (library,) = fresh.iterdir()
    library.unlink()
    library.write_bytes(b"\x7fELF")
    compile_kernels.kernels.cache_clear()
    load = compile_kernels.Kernels

    def in_a_new_process(path):  # in this one, the path is known to the loader
        if path.stat().st_size < 100:
            raise OSError(f"{path}: file too short")
        return load(path)

    monkeypatch.setattr(compile_kernels, "Kernels", in_a_new_process)
    assert compile_kernels.kernels()[0] is not None
    assert library.stat().st_size > 1000


@pytest.mark.parametrize("keep", [0, 64, 4096, 16384, -40, -1])
def test_a_library_that_is_cut_off_is_made_again(fresh, keep):
    """In a new process, which would be killed by a page that is missing."""
    if compile_kernels.kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.kernels()[1]}")
    (library,) = fresh.iterdir()
    whole = library.read_bytes()
    library.unlink()  # not cut off in place: this process has it mapped
    library.write_bytes(whole[:keep])
    code = (
        "from bert_paddle.models import paddlenlp_bert; paddlenlp_bert.bert(); "
        "from bert_paddle.models.kernels.compile_kernels import kernels; "
        "assert kernels()[0], kernels()[1]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert library.stat().st_size == len(whole)


def test_another_processor_of_the_same_name_compiles_for_itself(fresh, monkeypatch):
    if compile_kernels.kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.kernels()[1]}")
    monkeypatch.setattr(compile_kernels.hardware, "instructions", lambda: "fpu sse")
    compile_kernels.kernels.cache_clear()
    assert compile_kernels.kernels()[0] is not None
    assert len(list(fresh.iterdir())) == 2


def test_processes_agree_on_how_they_compute(fresh, monkeypatch, capsys):
    if compile_kernels.kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.kernels()[1]}")
    monkeypatch.setattr(
        dispatch.collectives, "all_gather", lambda own: [own, "no C compiler is here"]
    )
    model = a_model()
    dispatch.choose_encoder(model, True, run_log.RunLog())
    assert not dispatch.uses_kernels(model)
    assert "rank 1 cannot: no C compiler is here" in capsys.readouterr().err
    flags = "--task_name sst2 --model_name_or_path m --output_dir o".split()
    assert not hasattr(optim.build(model, parse_args(flags)), "norm_of")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "no C compiler is here"),
        ("echo no such option >&2; exit 1", "no such option"),
        ("exit 3", "exit status 3"),
        ("echo >&2; exit 4", "exit status 4"),
        ("echo mind this >&2; echo 'k.c:1: error: no disk' >&2; exit 1", "k.c:1: error: no disk"),
        (r"printf 'b\377d' >&2; exit 1", "b\ufffdd"),
    ],
)
def test_without_a_compiler_paddlenlp_does_it(fresh, monkeypatch, tmp_path, capsys, script, why):
    compiler = tmp_path / "compiler"
    if script:
        compiler.write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(compiler, 0o755)
    monkeypatch.setenv("CC", f"{compiler} -m64")
    model = a_model()
    dispatch.choose_encoder(model, True, run_log.RunLog())
    assert not dispatch.uses_kernels(model)
    assert why in capsys.readouterr().err
    dispatch.choose_encoder(model, False, run_log.RunLog())
    assert "--cpu_kernels 0" in capsys.readouterr().err


@pytest.mark.parametrize(("chosen", "why"), [('gcc "', "No closing quotation"), ("''", "")])
def test_a_cc_that_names_no_compiler(fresh, monkeypatch, chosen, why):
    monkeypatch.setenv("CC", chosen)
    kernels, said = compile_kernels.kernels()
    if "no C compiler is here (gcc or" in said:
        pytest.skip(said)
    assert (kernels is None) == bool(why) and why in said  # an empty name is as good as none


def test_a_cache_without_room(fresh, monkeypatch):
    """The compiler fails there, and is tried elsewhere."""
    plain = compile_kernels._compile

    def compile_elsewhere(compiler, threads, scratch):
        if fresh in scratch.parents:
            raise subprocess.CalledProcessError(1, compiler, stderr="No space left on device")
        return plain(compiler, threads, scratch)

    monkeypatch.setattr(compile_kernels, "_compile", compile_elsewhere)
    kernels, why = compile_kernels.kernels()
    assert kernels is not None or "no C compiler" in why


def test_a_paddle_without_its_thread_library(fresh, monkeypatch, tmp_path):
    """As on processors for which PaddlePaddle is built without MKL."""
    import paddle

    monkeypatch.setattr(paddle, "__file__", str(tmp_path / "paddle" / "__init__.py"))
    kernels, why = compile_kernels.kernels()
    assert kernels is None and ("libiomp5" in why or "no C compiler" in why)

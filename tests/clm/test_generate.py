"""`bert-paddle generate` and api.generate: prompts, samples, JSON, the terminal, mistakes."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
import tiny_gpt2

from bert_paddle import api
from bert_paddle.cli.generate import main
from bert_paddle.clm.generator import Generator
from bert_paddle.clm.sampling import SamplingSettings
from bert_paddle.common.errors import BertPaddleError, FlagError, UserError

MODEL = str(tiny_gpt2.HF_DIR)


def printed(capsys, *argv: str) -> str:
    main([MODEL, "--device", "cpu", *argv])
    return capsys.readouterr().out


def test_the_same_seed_gives_the_same_text_and_another_one_another(capsys):
    first = printed(capsys, "--prompt", "The old", "--max_new_tokens", "12")
    assert first.startswith("The old") and len(first) > len("The old\n")
    assert printed(capsys, "--prompt", "The old", "--max_new_tokens", "12") == first
    other = printed(capsys, "--prompt", "The old", "--max_new_tokens", "12", "--seed", "1")
    assert other != first


def test_several_samples_and_json(capsys):
    flags = ("--prompt", "A", "--num_samples", "3", "--max_new_tokens", "9")
    plain = printed(capsys, *flags)
    assert [plain.count(f"--- {i} of 3 ---") for i in (1, 2, 3)] == [1, 1, 1]
    rows = [json.loads(line) for line in printed(capsys, *flags, "--json").splitlines()]
    assert [row["sample"] for row in rows] == [0, 1, 2]
    assert all(row["prompt"] == "A" and 1 <= row["tokens"] <= 9 for row in rows)
    assert len({row["text"] for row in rows}) == 3
    assert all(row["ended"] or row["tokens"] == 9 for row in rows)


def test_prompts_from_stdin_and_from_a_file_are_the_same(capsys, monkeypatch, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("The old\n\nHer brother\r\n", encoding="utf-8")
    flags = ("--json", "--max_new_tokens", "5")
    from_file = printed(capsys, "--prompt_file", str(prompts), *flags)
    assert [json.loads(s)["prompt"] for s in from_file.splitlines()] == ["The old", "Her brother"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(prompts.read_text("utf-8")))
    assert printed(capsys, *flags) == from_file


def test_a_prompt_alone_and_among_others_has_the_same_texts():
    model, settings = Generator(MODEL), SamplingSettings(8)
    both = model.generate("The old", 2, settings, seed=3)
    assert model.generate("The old", 1, settings, seed=3)[0] == both[0]
    assert model.generate("The old", 1, settings, 3, prompt_number=1)[0] != both[0]


def test_the_length_is_as_many_tokens_as_fit():
    model = Generator(MODEL)
    settings = model.settings_for("The old", SamplingSettings(max_new_tokens=-1))
    assert settings.max_new_tokens == 64 - 8  # bos and seven tokens


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--prompt", "a", "--top_p", "1.2"), "--top_p must be at most 1"),
        (("--prompt", "a", "--top_p", "0"), "--top_p must be"),
        (("--prompt", "a", "--num_samples", "0"), "--num_samples must be at least 1"),
        (("--prompt", "a", "--prompt_file", "none"), "--prompt_file none: no such file"),
        (("--prompt", "a", "--max_new_tokens", "64"), "the model has 64 positions"),
        (("--prompt", "word " * 80), "the model has 64 positions"),
        (("--prompt", "\udcff"), "not UTF-8"),
    ],
)
def test_mistakes(argv, message):
    with pytest.raises(BertPaddleError, match=message):
        main([MODEL, "--device", "cpu", *argv])


def test_an_empty_stdin_and_a_bert_are_refused(monkeypatch, tiny_dir):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(UserError, match="stdin is empty"):
        main([MODEL])
    with pytest.raises(UserError, match="the model is 'bert', but gpt2 is needed"):
        main([str(tiny_dir), "--prompt", "a"])


def test_a_gpt2_is_refused_where_a_bert_is_needed():
    with pytest.raises(UserError, match="gpt2.*only bert is supported"):
        api.load(MODEL, device="cpu")


def test_the_api_gives_the_texts_of_the_command(capsys):
    texts = api.generate(MODEL, "The old", num_samples=2, max_new_tokens=6, device="cpu")
    rows = printed(
        capsys, "--prompt", "The old", "--num_samples", "2", "--max_new_tokens", "6", "--json"
    )
    assert [t.text for t in texts] == [json.loads(line)["text"] for line in rows.splitlines()]
    with pytest.raises(FlagError, match="top_p must be at most 1"):
        api.generate(MODEL, top_p=3)


def test_the_api_fine_tunes_a_gpt2(tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(tiny_gpt2.sentences(20)))
    run = api.fine_tune(
        model_type="gpt2",
        model_name_or_path=MODEL,
        train_file=texts,
        output_dir=tmp_path / "out",
        max_steps=2,
        n_gpu=0,
        report=False,
    )
    assert run.model_dir == tmp_path / "out" / "model_2" and run.results["eval_perplexity"] > 1
    assert api.generate(run.model_dir, "A", max_new_tokens=2, device="cpu")[0].tokens <= 2
    with pytest.raises(FlagError, match="task_name is not a flag of bert-paddle clm"):
        api.fine_tune("SST-2", model_type="gpt2", output_dir=tmp_path / "other")


def test_on_a_terminal_the_text_comes_in_parts():
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "bert_paddle", "generate", MODEL, "--prompt", "The old"]
    process = subprocess.Popen(
        [*command, "--max_new_tokens", "8", "--device", "cpu"],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.DEVNULL,
    )
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    assert process.wait(timeout=60) == 0
    assert len(parts) > 2 and b"".join(parts).startswith(b"The old")

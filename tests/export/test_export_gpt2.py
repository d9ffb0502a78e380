"""`bert-paddle export --format hf` of a GPT-2: files as transformers writes them, equal weights."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
import tiny_gpt2
from safetensors.numpy import load_file

from bert_paddle.cli import export as command
from bert_paddle.common.errors import UserError
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.export import check, export
from bert_paddle.models import gpt2, gpt2_config, gpt2_weights, model_state
from bert_paddle.models.byte_level_bpe import load_bpe_tokenizer

REFERENCE = tiny_gpt2.REFERENCE
PEERS = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
FILES = {"config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer.json"}
IGNORED = ("transformers_version", "architectures", "n_inner", "pad_token_id")


def save_as_a_run_does(source: Path, folder: Path) -> Path:
    """The model under Paddle's names, with its tokenizer."""
    loaded = gpt2_weights.load_gpt2_weights(source)
    model = gpt2.build_gpt2(loaded.config, loaded.tensors)
    config = {"architectures": ["GPTForCausalLM"], "model_type": "gpt2"}
    folder.mkdir()
    weights = TensorSnapshot(model_state.numpy_state_dict(model))
    model_state.model_writer(model, config, weights)(folder)
    load_bpe_tokenizer(source).save(folder)
    return folder


@pytest.fixture
def unchecked(monkeypatch):
    skipped = check.CheckResult(skip_reason="turned off")
    monkeypatch.setattr(check, "compare_logits", lambda *a: skipped)


@pytest.mark.parametrize("name", ["tiny_gpt2", "tiny_gpt2_erf"])
def test_the_way_there_and_back_is_equal(tmp_path, unchecked, name):
    saved = save_as_a_run_does(REFERENCE / name, tmp_path / "saved")
    folder = export.export_model(str(saved), "hf").folder
    assert {path.name for path in folder.iterdir()} >= FILES
    ours, theirs = (load_file(p / "model.safetensors") for p in (folder, REFERENCE / name))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], value) for key, value in theirs.items())
    config, expected = (
        json.loads((p / "config.json").read_text()) for p in (folder, REFERENCE / name)
    )
    same = [key for key in config.keys() & expected.keys() if key not in IGNORED]
    assert {key: config[key] for key in same} == {key: expected[key] for key in same}
    assert {"activation_function", "bos_token_id", "eos_token_id", "n_head"} <= set(same)
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert gpt2_config.read_gpt2_config(folder) == gpt2_config.read_gpt2_config(REFERENCE / name)

    loaded = gpt2_weights.load_gpt2_weights(folder)
    model = gpt2.build_gpt2(loaded.config, loaded.tensors)
    stored = load_file(REFERENCE / f"{name}_expected.safetensors")
    with paddle.no_grad():
        logits = gpt2.logits(model, gpt2.hidden_states(model, paddle.to_tensor(stored["ids"])))
    np.testing.assert_allclose(logits[0].numpy(), stored["logits"][0], atol=1e-5, rtol=0)
    texts = ["The old baker", "中文 and 😀", "a<|endoftext|>"]
    tokenizers = (load_bpe_tokenizer(p) for p in (folder, REFERENCE / name))
    first, second = ([t.encode_texts(texts), t.roles] for t in tokenizers)
    assert first == second


def test_the_card_says_how_to_generate(tmp_path, unchecked):
    saved = save_as_a_run_does(tiny_gpt2.HF_DIR, tmp_path / "saved")
    folder = export.export_model(str(saved), "hf", str(tmp_path / "made")).folder
    card = (folder / "README.md").read_text("utf-8")
    assert "pipeline_tag: text-generation" in card and "AutoModelForCausalLM" in card
    assert 'from_pretrained("made")' in card and "model.generate(" in card
    export.export_model(str(saved), "hf", str(tmp_path / "made"), overwrite=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--format", "paddle_inference"), "is a GPT-2, and paddle_inference .* give --format hf"),
        (("--format", "hf", "--do_lower_case", "1"), "--do_lower_case is not for GPT-2"),
    ],
)
def test_what_is_not_for_a_gpt2_is_refused(tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        command.main([str(tiny_gpt2.HF_DIR), "-o", str(tmp_path / "made"), *flags])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.is_file(), reason="no .venv-peers (benchmarks/peers/setup.sh)")
def test_transformers_computes_the_same_logits(tmp_path):
    saved = save_as_a_run_does(tiny_gpt2.HF_DIR, tmp_path / "saved")
    result = export.export_model(str(saved), "hf", checker=str(PEERS)).check
    assert "transformers" in result.runtime and result.max_difference <= 1e-5
    assert (result.rows, result.batches) == (7, 5)


@pytest.mark.slow
def test_paddlenlp_computes_the_same_logits_from_a_saved_folder(tmp_path):
    from paddlenlp.transformers import GPTForCausalLM

    saved = save_as_a_run_does(tiny_gpt2.HF_DIR, tmp_path / "saved")
    model = GPTForCausalLM.from_pretrained(str(saved))
    model.eval()
    stored = load_file(REFERENCE / "tiny_gpt2_expected.safetensors")
    with paddle.no_grad():
        logits = model(paddle.to_tensor(stored["ids"]))
    logits = logits[0] if isinstance(logits, tuple) else logits
    np.testing.assert_allclose(logits[0].numpy(), stored["logits"][0], atol=1e-5, rtol=0)

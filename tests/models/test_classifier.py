"""Models built from folders: outputs equal to transformers', heads matched by class name."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import classifier, load_weights, tokenizer

REFERENCE = Path(__file__).parents[1] / "reference"
NLI = ("entailment", "neutral", "contradiction")


def read_expected(path: Path) -> dict[str, np.ndarray]:
    content = json.loads(path.read_text())
    arrays = {k: v for k, v in content.items() if isinstance(v, list) and k != "texts"}
    return {key: np.array(value) for key, value in arrays.items()} | {"texts": content["texts"]}


def forward(model, inputs):
    import paddle

    model.eval()
    with paddle.no_grad():
        return model(
            paddle.to_tensor(inputs["input_ids"].astype("int64")),
            token_type_ids=paddle.to_tensor(inputs["token_type_ids"].astype("int64")),
            attention_mask=paddle.to_tensor(inputs["attention_mask"].astype("int64")),
        )


def build(folder: Path, labels, need_head=False):
    return classifier.build_classifier(load_weights.load_weights(folder), labels, 0, need_head)


def test_tiny_hugging_face_model_equals_transformers():
    expected = read_expected(REFERENCE / "tiny_hf" / "expected.json")
    built = build(REFERENCE / "tiny_hf", NLI, need_head=True)
    logits = forward(built.model, expected).numpy()
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-5, rtol=0)
    hidden, pooled = forward(built.model.bert, expected)
    not_padding = expected["attention_mask"] == 1
    np.testing.assert_allclose(
        hidden.numpy()[not_padding], expected["last_hidden_state"][not_padding], atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(pooled.numpy(), expected["pooler_output"], atol=1e-5, rtol=0)


@pytest.mark.real_weights
def test_packaged_weights_equal_transformers(minilm_dir):
    expected = read_expected(REFERENCE / "minilm_encoder.json")
    built = build(minilm_dir, ("negative", "positive"))
    hidden, pooled = forward(built.model.bert, expected)
    rows = np.arange(len(expected["last_token"]))
    for actual, name in (
        (pooled.numpy(), "pooler_output"),
        (hidden.numpy()[:, 0], "last_hidden_state_first"),
        (hidden.numpy()[rows, expected["last_token"]], "last_hidden_state_last"),
    ):
        np.testing.assert_allclose(actual, expected[name], atol=1e-5, rtol=0)


@pytest.mark.real_weights
def test_packaged_vocabulary_gives_the_reference_ids(minilm_dir):
    expected = read_expected(REFERENCE / "minilm_encoder.json")
    tokens = tokenizer.load_tokenizer(minilm_dir)
    for texts, ids, mask in zip(
        expected["texts"], expected["input_ids"], expected["attention_mask"], strict=True
    ):
        pair = texts if isinstance(texts, list) else [texts]
        second = [pair[1]] if len(pair) > 1 and pair[1] is not None else None
        row = tokens.encode([pair[0]], second, 128).input_ids[0]
        assert row.tolist() == ids[mask == 1].tolist()


def test_head_in_another_order_is_permuted_by_name():
    expected = read_expected(REFERENCE / "tiny_hf" / "expected.json")
    order = ("contradiction", "entailment", "neutral")
    built = build(REFERENCE / "tiny_hf", order, need_head=True)
    columns = [NLI.index(name) for name in order]
    np.testing.assert_allclose(
        forward(built.model, expected).numpy(), expected["logits"][:, columns], atol=1e-5, rtol=0
    )
    assert not built.new_head


def test_head_of_other_classes_is_newly_initialized_and_noted():
    built = build(REFERENCE / "tiny_hf", ("yes", "no", "maybe"))
    assert built.new_head and "entailment, neutral, contradiction" in built.notes[-1]
    second = build(REFERENCE / "tiny_hf", ("yes", "no", "maybe"))
    weight = built.model.classifier.weight.numpy()
    assert np.array_equal(weight, second.model.classifier.weight.numpy())  # from the seed
    assert 0.005 < weight.std() < 0.04 and not built.model.classifier.bias.numpy().any()


def test_head_of_other_classes_is_an_error_without_training():
    with pytest.raises(WeightsError, match="--do_train"):
        build(REFERENCE / "tiny_hf", ("yes", "no", "maybe"), need_head=True)


def test_regression_has_one_output(tmp_path):
    folder = tiny.write_model(tmp_path / "m", labels=())
    built = build(folder, (), need_head=True)
    assert built.model.classifier.weight.shape == [16, 1] and not built.new_head


def test_source_folder_may_be_read_only_and_is_not_changed(tmp_path):
    folder = tiny.write_model(tmp_path / "m")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    folder.chmod(0o555)
    try:
        build(folder, ("no", "yes"))
    finally:
        folder.chmod(0o755)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_vocabulary_and_length_must_fit_the_model(tiny_dir):
    config = load_weights.load_weights(tiny_dir).config
    size = config["vocab_size"]
    classifier.check_sizes(config, size, 64, True, tiny_dir)
    with pytest.raises(WeightsError, match="64 positions"):
        classifier.check_sizes(config, size, 65, False, tiny_dir)
    with pytest.raises(WeightsError, match="do not belong together"):
        classifier.check_sizes(config, size + 1, 64, False, tiny_dir)
    one_segment = config | {"type_vocab_size": 1}
    classifier.check_sizes(one_segment, size, 64, False, tiny_dir)
    with pytest.raises(WeightsError, match="type_vocab_size 1"):
        classifier.check_sizes(one_segment, size, 64, True, tiny_dir)


def test_unnamed_classes_are_noted(tmp_path):
    folder = tiny.write_model(tmp_path / "m", labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    built = build(folder, NLI, need_head=True)
    assert "assumed to be entailment, neutral, contradiction" in built.notes[-1]

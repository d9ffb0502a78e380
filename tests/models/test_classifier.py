"""Models built from folders: outputs equal to transformers', heads by name, saving and loading."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import classifier, load_weights, tokenizer

REFERENCE = Path(__file__).parents[1] / "reference"
NLI = ("entailment", "neutral", "contradiction")


def read(path: Path) -> dict[str, np.ndarray]:
    content = json.loads(path.read_text())
    kept = {k: v for k, v in content.items() if isinstance(v, list) and k != "texts"}
    return {key: np.array(value) for key, value in kept.items()} | {"texts": content["texts"]}


def call(network, wanted):
    import paddle

    network.eval()
    with paddle.no_grad():
        return network(
            paddle.to_tensor(wanted["input_ids"].astype("int64")),
            token_type_ids=paddle.to_tensor(wanted["token_type_ids"].astype("int64")),
            attention_mask=paddle.to_tensor(wanted["attention_mask"].astype("int64")),
        )


def build(folder: Path, labels, need_head=False):
    return classifier.build_classifier(load_weights.load_weights(folder), labels, 0, need_head)


def test_tiny_hugging_face_model_equals_transformers():
    wanted = read(REFERENCE / "tiny_hf" / "expected.json")
    built = build(REFERENCE / "tiny_hf", NLI, need_head=True)
    logits = call(built.model, wanted).numpy()
    np.testing.assert_allclose(logits, wanted["logits"], atol=1e-5, rtol=0)
    hidden, pooled = call(built.model.bert, wanted)
    real = wanted["attention_mask"] == 1
    np.testing.assert_allclose(
        hidden.numpy()[real], wanted["last_hidden_state"][real], atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(pooled.numpy(), wanted["pooler_output"], atol=1e-5, rtol=0)


@pytest.mark.real_weights
def test_packaged_weights_equal_transformers(minilm_dir):
    wanted = read(REFERENCE / "minilm_encoder.json")
    built = build(minilm_dir, ("negative", "positive"))
    hidden, pooled = call(built.model.bert, wanted)
    rows = np.arange(len(wanted["last_token"]))
    for got, name in (
        (pooled.numpy(), "pooler_output"),
        (hidden.numpy()[:, 0], "last_hidden_state_first"),
        (hidden.numpy()[rows, wanted["last_token"]], "last_hidden_state_last"),
    ):
        np.testing.assert_allclose(got, wanted[name], atol=1e-5, rtol=0)


@pytest.mark.real_weights
def test_packaged_vocabulary_gives_the_reference_ids(minilm_dir):
    wanted = read(REFERENCE / "minilm_encoder.json")
    tokens = tokenizer.load(minilm_dir)
    for texts, ids, mask in zip(
        wanted["texts"], wanted["input_ids"], wanted["attention_mask"], strict=True
    ):
        pair = texts if isinstance(texts, list) else [texts]
        second = [pair[1]] if len(pair) > 1 and pair[1] is not None else None
        got = tokens.encode([pair[0]], second, 128).input_ids[0]
        assert got.tolist() == ids[mask == 1].tolist()


def test_head_in_another_order_is_permuted_by_name():
    wanted = read(REFERENCE / "tiny_hf" / "expected.json")
    order = ("contradiction", "entailment", "neutral")
    built = build(REFERENCE / "tiny_hf", order, need_head=True)
    columns = [NLI.index(name) for name in order]
    np.testing.assert_allclose(
        call(built.model, wanted).numpy(), wanted["logits"][:, columns], atol=1e-5, rtol=0
    )
    assert not built.fresh_head


def test_head_of_other_classes_is_drawn_anew_and_told():
    built = build(REFERENCE / "tiny_hf", ("yes", "no", "maybe"))
    assert built.fresh_head and "entailment, neutral, contradiction" in built.notes[-1]
    again = build(REFERENCE / "tiny_hf", ("yes", "no", "maybe"))
    weight = built.model.classifier.weight.numpy()
    assert np.array_equal(weight, again.model.classifier.weight.numpy())  # from the seed
    assert 0.005 < weight.std() < 0.04 and not built.model.classifier.bias.numpy().any()


def test_head_of_other_classes_is_an_error_without_training():
    with pytest.raises(WeightsError, match="--do_train"):
        build(REFERENCE / "tiny_hf", ("yes", "no", "maybe"), need_head=True)


def test_regression_has_one_output(tmp_path):
    folder = tiny.write_model(tmp_path / "m", labels=())
    built = build(folder, (), need_head=True)
    assert built.model.classifier.weight.shape == [16, 1] and not built.fresh_head


def test_a_saved_folder_loads_bit_equal(tmp_path, tiny_dir):
    built = build(tiny_dir, ("no", "yes"), need_head=True)
    (tmp_path / "saved").mkdir()
    about = classifier.classifier_config(("no", "yes"), "demo")
    classifier.model_writer(built.model, about)(tmp_path / "saved")
    again = build(tmp_path / "saved", ("no", "yes"), need_head=True)
    first, second = (
        classifier.numpy_state_dict(built.model),
        classifier.numpy_state_dict(again.model),
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not built.notes and not again.notes


def test_the_source_folder_may_be_read_only_and_stays_as_it_is(tmp_path):
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


def test_unnamed_classes_are_told(tmp_path):
    folder = tiny.write_model(tmp_path / "m", labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    built = build(folder, NLI, need_head=True)
    assert "taken to be entailment, neutral, contradiction" in built.notes[-1]


def test_half_precision_parameters_take_saved_values():
    import paddle

    layer = paddle.nn.Linear(2, 2)
    wanted = np.array([[1.5, -2.0], [0.25, 4.0]], np.float32)
    layer.to(dtype="bfloat16")
    classifier.set_tensors(layer, {"weight": wanted})
    assert str(layer.weight.dtype).endswith("bfloat16")
    assert np.array_equal(classifier.numpy_state_dict(layer)["weight"], wanted)


def test_optimizer_state_goes_through_a_file_whatever_the_process_built_before(tiny_dir):
    import paddle

    def stepped():
        built = build(tiny_dir, ("no", "yes")).model
        optimizer = paddle.optimizer.AdamW(1e-3, parameters=built.parameters())
        return built, optimizer

    one, optimizer = stepped()
    ids = paddle.to_tensor([[2, 5, 6, 3]])
    for _ in range(2):
        one(ids).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    tensors = classifier.optimizer_tensors(one, optimizer)
    assert {key.split("|")[0] for key in tensors} == {n for n, _ in one.named_parameters()}
    paddle.nn.Linear(3, 3)  # moves Paddle's own counters
    two, other = stepped()
    classifier.set_tensors(two, classifier.numpy_state_dict(one))
    saved = {name: np.array(value.numpy()) for name, value in tensors.items()}
    classifier.restore_optimizer(two, other, saved)
    for network, opt in ((one, optimizer), (two, other)):
        network.eval()
        network(ids).sum().backward()
        opt.step()
    first, second = classifier.numpy_state_dict(one), classifier.numpy_state_dict(two)
    assert all(np.array_equal(first[name], second[name]) for name in first)

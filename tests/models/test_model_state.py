"""Models and optimizers saved and restored bit for bit."""

from pathlib import Path

import numpy as np

from bert_paddle.models import classifier, load_weights, model_state


def build(folder: Path):
    return classifier.build_classifier(load_weights.load_weights(folder), ("no", "yes"), 0, True)


def assert_equal(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_saved_model_loads_bit_for_bit(tmp_path, tiny_dir):
    built = build(tiny_dir)
    (tmp_path / "saved").mkdir()
    extra_config = classifier.classifier_config(("no", "yes"), "demo")
    model_state.model_writer(built.model, extra_config)(tmp_path / "saved")
    loaded = build(tmp_path / "saved")
    assert_equal(
        model_state.numpy_state_dict(built.model), model_state.numpy_state_dict(loaded.model)
    )
    assert not built.notes and not loaded.notes


def test_saved_values_load_into_half_precision_parameters():
    import paddle

    layer = paddle.nn.Linear(2, 2)
    values = np.array([[1.5, -2.0], [0.25, 4.0]], np.float32)
    layer.to(dtype="bfloat16")
    model_state.set_tensors(layer, {"weight": values})
    assert str(layer.weight.dtype).endswith("bfloat16")
    assert np.array_equal(model_state.numpy_state_dict(layer)["weight"], values)


def test_optimizer_state_is_restored_whatever_layers_the_process_built_before(tiny_dir):
    import paddle

    def build_both():
        model = build(tiny_dir).model
        return model, paddle.optimizer.AdamW(1e-3, parameters=model.parameters())

    model, optimizer = build_both()
    ids = paddle.to_tensor([[2, 5, 6, 3]])
    for _ in range(2):
        model(ids).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    tensors = model_state.optimizer_tensors(model, optimizer)
    assert {key.split("|")[0] for key in tensors} == {n for n, _ in model.named_parameters()}
    paddle.nn.Linear(3, 3)  # advances the counters in Paddle's parameter names
    restored, restored_optimizer = build_both()
    model_state.set_tensors(restored, model_state.numpy_state_dict(model))
    saved = {name: np.array(value.numpy()) for name, value in tensors.items()}
    model_state.restore_optimizer(restored, restored_optimizer, saved)
    for each_model, each_optimizer in ((model, optimizer), (restored, restored_optimizer)):
        each_model.eval()
        each_model(ids).sum().backward()
        each_optimizer.step()
    assert_equal(model_state.numpy_state_dict(model), model_state.numpy_state_dict(restored))


def test_float32_copies_of_half_precision_weights_become_the_weights_in_float32():
    """A run in float16 with whole models in half precision (--amp_level O2), resumed without."""
    import paddle

    layer = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=layer.parameters())
    exact = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    model_state.set_tensors(layer, {"weight": exact.astype("float16").astype("float32")})
    model_state.restore_optimizer(layer, optimizer, {"weight|master_weight": exact})
    assert np.array_equal(layer.weight.numpy(), exact)
    assert "master_weights" not in optimizer.state_dict()

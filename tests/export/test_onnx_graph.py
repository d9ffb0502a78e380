"""The ONNX graph that is made by hand: the model's logits, any sizes, names that stay."""

import numpy as np
import pytest
import tiny

from bert_paddle.export import onnx_graph, sample
from bert_paddle.export.source import load


def logits(source, inputs):
    import paddle

    return source.model(**{k: paddle.to_tensor(v) for k, v in inputs.items()}).numpy()


def session_of(source):
    import onnxruntime

    made = onnx_graph.build(source.config, source.tensors())
    return onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(
    "labels, changed",
    [
        (("no", "yes"), {}),
        (("a", "b", "c"), {"hidden_act": "relu", "num_hidden_layers": 3}),
        ((), {"hidden_act": "silu", "layer_norm_eps": 1e-4}),
        (("no", "yes"), {"pool_act": "relu", "num_attention_heads": 4}),
    ],
)
def test_logits_are_the_models_at_any_batch_and_length(tmp_path, labels, changed):
    source = load(str(tiny.write_model(tmp_path / "m", labels=labels, **changed)))
    session = session_of(source)
    rng = np.random.default_rng(3)
    for rows, width in ((1, 1), (4, 9), (2, tiny.CONFIG["max_position_embeddings"])):
        lengths = rng.integers(1, width + 1, rows)
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        inputs = {
            "input_ids": rng.integers(0, tiny.CONFIG["vocab_size"], (rows, width)),
            "attention_mask": mask,
            "token_type_ids": rng.integers(0, 2, (rows, width)),
        }
        got = session.run(["logits"], inputs)[0]
        assert got.shape == (rows, max(1, len(labels)))
        np.testing.assert_allclose(got, logits(source, inputs), atol=1e-6, rtol=1e-5)


def test_what_is_masked_changes_nothing(tiny_dir):
    source = load(str(tiny_dir))
    session = session_of(source)
    batch = sample.batches(source)[1].inputs
    other = batch | {"input_ids": np.where(batch["attention_mask"] == 1, batch["input_ids"], 7)}
    assert not np.array_equal(batch["input_ids"], other["input_ids"])  # there is padding
    one, two = (session.run(["logits"], inputs)[0] for inputs in (batch, other))
    np.testing.assert_array_equal(one, two)


def test_inputs_and_weights_have_the_names_that_people_look_for(tiny_dir):
    source = load(str(tiny_dir))
    made = onnx_graph.build(source.config, source.tensors())
    for one in made.graph.input:
        shape = [dim.dim_param for dim in one.type.tensor_type.shape.dim]
        assert (shape, one.type.tensor_type.elem_type) == (["batch", "length"], 7)  # int64
    assert [one.name for one in made.graph.input] == list(sample.INPUTS)
    assert [one.name for one in made.graph.output] == ["logits"]
    assert {(entry.domain, entry.version) for entry in made.opset_import} == {("", 17)}
    names = {one.name for one in made.graph.initializer}
    wanted = {
        "bert.embeddings.word_embeddings.weight",
        "classifier.bias",
        "bert.pooler.dense.weight",
    }
    assert wanted <= names


def test_the_graph_is_one_that_onnx_runtime_fuses(tiny_dir, tmp_path):
    """A residual and its normalisation, a bias and its GELU, a product and its scale."""
    import collections

    import onnx
    import onnxruntime

    source = load(str(tiny_dir))
    made = onnx_graph.build(source.config, source.tensors())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = onnx.load(str(tmp_path / "optimized.onnx")).graph.node
    kinds = collections.Counter(node.op_type for node in found)
    layers = tiny.CONFIG["num_hidden_layers"]
    assert kinds["SkipLayerNormalization"] == 2 * layers
    assert kinds["BiasGelu"] == layers and "Erf" not in kinds
    assert kinds["FusedMatMul"] == layers

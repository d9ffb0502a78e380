"""The ONNX graph: the model's logits at any batch size and length, stable names, fused kernels."""

import numpy as np
import pytest
import tiny

from bert_paddle.export import onnx_graph, sample
from bert_paddle.export.source import load_source


def logits(source, inputs):
    import paddle

    return source.model(**{k: paddle.to_tensor(v) for k, v in inputs.items()}).numpy()


def onnx_session(source):
    import onnxruntime

    model = onnx_graph.build_model(source.config, source.tensors())
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(
    "labels, config",
    [
        (("no", "yes"), {}),
        (("a", "b", "c"), {"hidden_act": "relu", "num_hidden_layers": 3}),
        ((), {"hidden_act": "silu", "layer_norm_eps": 1e-4}),
        (("no", "yes"), {"pool_act": "relu", "num_attention_heads": 4}),
    ],
)
def test_logits_are_the_models_at_any_batch_and_length(tmp_path, labels, config):
    source = load_source(str(tiny.write_model(tmp_path / "m", labels=labels, **config)))
    session = onnx_session(source)
    rng = np.random.default_rng(3)
    for rows, width in ((1, 1), (4, 9), (2, tiny.CONFIG["max_position_embeddings"])):
        lengths = rng.integers(1, width + 1, rows)
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        inputs = {
            "input_ids": rng.integers(0, tiny.CONFIG["vocab_size"], (rows, width)),
            "attention_mask": mask,
            "token_type_ids": rng.integers(0, 2, (rows, width)),
        }
        outputs = session.run(["logits"], inputs)[0]
        assert outputs.shape == (rows, max(1, len(labels)))
        np.testing.assert_allclose(outputs, logits(source, inputs), atol=1e-6, rtol=1e-5)


def test_padding_does_not_change_the_logits(tiny_dir):
    source = load_source(str(tiny_dir))
    session = onnx_session(source)
    batch = sample.make_batches(source)[1].inputs
    other_padding = batch | {
        "input_ids": np.where(batch["attention_mask"] == 1, batch["input_ids"], 7)
    }
    assert not np.array_equal(batch["input_ids"], other_padding["input_ids"])  # there is padding
    first, second = (session.run(["logits"], inputs)[0] for inputs in (batch, other_padding))
    np.testing.assert_array_equal(first, second)


def test_names_of_inputs_and_weights(tiny_dir):
    source = load_source(str(tiny_dir))
    model = onnx_graph.build_model(source.config, source.tensors())
    for graph_input in model.graph.input:
        shape = [dim.dim_param for dim in graph_input.type.tensor_type.shape.dim]
        assert (shape, graph_input.type.tensor_type.elem_type) == (["batch", "length"], 7)  # int64
    assert [value.name for value in model.graph.input] == list(sample.INPUTS)
    assert [value.name for value in model.graph.output] == ["logits"]
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 17)}
    names = {tensor.name for tensor in model.graph.initializer}
    expected = {
        "bert.embeddings.word_embeddings.weight",
        "classifier.bias",
        "bert.pooler.dense.weight",
    }
    assert expected <= names


def test_onnx_runtime_fuses_the_graph(tiny_dir, tmp_path):
    """A residual with its layer norm, a bias with its GELU, a matrix product with its scale."""
    import collections

    import onnx
    import onnxruntime

    source = load_source(str(tiny_dir))
    model = onnx_graph.build_model(source.config, source.tensors())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(str(tmp_path / "optimized.onnx")).graph.node
    op_types = collections.Counter(node.op_type for node in nodes)
    layers = tiny.CONFIG["num_hidden_layers"]
    assert op_types["SkipLayerNormalization"] == 2 * layers
    assert op_types["BiasGelu"] == layers and "Erf" not in op_types
    assert op_types["FusedMatMul"] == layers

"""BERT with a classifier as an ONNX graph, built from the weights without tracing.

    input_ids       -> Gather --+
    token_type_ids  -> Gather --+-> Add -> LayerNorm -> layers -> [CLS] -> pooler -> classifier
    (positions 0 .. length) ----+                         ^
    attention_mask  -> (1 - mask) * -10000 ---------------+

Only standard operators (opset 17) are used, arranged so that ONNX Runtime fuses them into its
SkipLayerNormalization, BiasGelu and FusedMatMul kernels. A graph traced from PaddleNLP's model
(paddle2onnx) is slower: it computes queries, keys and values in three matrix products, and does not
record that all inputs have the same shape, which ONNX Runtime must know to fuse a residual addition
with the layer normalization after it.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle import __version__
from bert_paddle.common.errors import WeightsError
from bert_paddle.export import hugging_face
from bert_paddle.export.sample import INPUTS
from bert_paddle.export.source import ExportSource
from bert_paddle.models.activations import is_tanh_gelu

FILE, OUTPUT = "model.onnx", "logits"
_OPSET, _IR_VERSION = 17, 8
_FLOAT = 1  # onnx.TensorProto.FLOAT
_MASK_BIAS = -10000.0  # added to the attention scores of padding, as in PaddleNLP's BERT
_MAX_FILE_BYTES = 2**31 - 2**20  # protobuf's limit of 2 GiB, less 1 MiB for the graph
# {hidden_act: the ONNX operator that computes it}.
_SAME_IN_ONNX = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
_EMBEDDINGS, _LAYER = "bert.embeddings.", "bert.encoder.layers.{}."


def write(source: ExportSource, folder: Path) -> None:
    """Write model.onnx: int64 [batch, length] of any sizes -> float32 logits [batch, classes];
    also the configuration and the tokenizer. Raises WeightsError if the model is too large."""
    tensors = source.tensors()
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > _MAX_FILE_BYTES:
        raise WeightsError(
            f"{source.folder} has {size} bytes of weights, but an ONNX file is limited to "
            f"{_MAX_FILE_BYTES}: export it as hf or paddle_inference"
        )
    (folder / FILE).write_bytes(build_model(source.config, tensors).SerializeToString())
    hugging_face.write_config_and_tokenizer(source, folder)


def build_model(config: Any, tensors: dict[str, np.ndarray]) -> Any:
    """The onnx.ModelProto of a classifier.

    config: PaddleNLP's BertConfig. tensors: float32 weights by Paddle's names, Linear weights as
    [in, out]. The graph's initializers have the same names.
    """
    graph = _GraphBuilder(tensors)
    mask = _attention_bias(graph)
    hidden = _embeddings(graph, config)
    for i in range(config.num_hidden_layers):
        hidden = _encoder_layer(graph, config, hidden, mask, _LAYER.format(i))
    graph.node("Gather", [hidden, graph.ints("first_position", 0)], "first_token", axis=1)
    pooled = graph.gemm("first_token", "bert.pooler.dense")
    if config.pool_act == "tanh":
        pooled = graph.node("Tanh", [pooled], "pooled")
    graph.gemm(pooled, "classifier", OUTPUT)
    return graph.build(classes=len(tensors["classifier.bias"]))


class _GraphBuilder:
    """Collects the nodes and initializers of a graph. Every method that adds some returns the name
    of the resulting tensor, or the names if there are several."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.tensors = dict(tensors)
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """An operator with one output."""
        from onnx import helper

        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str) -> str:
        """A model weight, as an initializer."""
        self.constants[name] = self.tensors[name]
        return name

    def ints(self, name: str, value: int | list[int]) -> str:
        """An int64 constant."""
        self.constants[name] = np.array(value, np.int64)
        return name

    def number(self, name: str, value: float) -> str:
        """A float32 scalar."""
        self.constants[name] = np.array(value, np.float32)
        return name

    def linear(self, x: str, layer: str) -> str:
        """A Linear layer applied to x [..., in]."""
        product = self.node("MatMul", [x, self.weight(f"{layer}.weight")], f"{layer}.product")
        return self.node("Add", [product, self.weight(f"{layer}.bias")], f"{layer}.output")

    def concat_linear(self, layers: list[str], name: str) -> str:
        """Combine Linear layers of the same input into one, whose output is the concatenation of
        theirs. Returns the name of the new layer."""
        for part in ("weight", "bias"):
            parts = [self.tensors[f"{layer}.{part}"] for layer in layers]
            self.tensors[f"{name}.{part}"] = np.concatenate(parts, axis=-1)
        return name

    def split(self, x: str, outputs: list[str], size: int) -> list[str]:
        """Split x along axis 1 into parts of `size` each."""
        from onnx import helper

        sizes = self.ints("split_sizes", [size] * len(outputs))
        self.nodes.append(helper.make_node("Split", [x, sizes], outputs, name=outputs[0], axis=1))
        return outputs

    def gemm(self, x: str, layer: str, output: str = "") -> str:
        """A Linear layer applied to x [batch, in], as one node."""
        inputs = [x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")]
        return self.node("Gemm", inputs, output or f"{layer}.output")

    def layer_norm(self, x: str, layer: str, epsilon: float) -> str:
        """Layer normalization over the last axis."""
        inputs = [x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")]
        output = f"{layer}.output"
        return self.node("LayerNormalization", inputs, output, axis=-1, epsilon=epsilon)

    def build(self, classes: int) -> Any:
        """The onnx.ModelProto of the collected nodes."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        dims = ["batch", "length"]
        inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, dims) for n in INPUTS]
        output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", classes])
        constants = [numpy_helper.from_array(v, name) for name, v in self.constants.items()]
        # ONNX Runtime cannot infer that there are as many position embeddings as tokens. Given the
        # shape of "positions", it infers all other shapes, which it needs to fuse kernels.
        width = self.tensors[f"{_EMBEDDINGS}position_embeddings.weight"].shape[1]
        positions = helper.make_tensor_value_info("positions", TensorProto.FLOAT, ["length", width])
        graph = helper.make_graph(
            self.nodes, "bert", inputs, [output], constants, value_info=[positions]
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            producer_name="bert_paddle",
            producer_version=__version__,
            ir_version=_IR_VERSION,
        )
        onnx.checker.check_model(model)
        return model


def _attention_bias(graph: _GraphBuilder) -> str:
    """attention_mask [batch, length] -> bias of the attention scores, [batch, 1, 1, length]."""
    wide = graph.node("Unsqueeze", ["attention_mask", graph.ints("mask_axes", [1, 2])], "mask.wide")
    mask = graph.node("Cast", [wide], "mask.float", to=_FLOAT)
    padding = graph.node("Sub", [graph.number("one", 1.0), mask], "mask.padding")
    return graph.node("Mul", [padding, graph.number("masked", _MASK_BIAS)], "mask.added")


def _embeddings(graph: _GraphBuilder, config: Any) -> str:
    """The layer-normalized sum of the three embeddings, [batch, length, hidden]."""
    layer = _EMBEDDINGS
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    table = graph.weight(f"{layer}position_embeddings.weight")
    bounds = [table, graph.ints("zero", [0]), length, graph.ints("axis_0", [0])]
    positions = graph.node("Slice", bounds, "positions")
    words, segments = (
        graph.node("Gather", [graph.weight(f"{layer}{name}.weight"), ids], f"{layer}{name}.output")
        for name, ids in (
            ("word_embeddings", "input_ids"),
            ("token_type_embeddings", "token_type_ids"),
        )
    )
    both = graph.node("Add", [words, segments], f"{layer}words_and_segments")
    added = graph.node("Add", [both, positions], f"{layer}sum")
    return graph.layer_norm(added, f"{layer}layer_norm", config.layer_norm_eps)


def _encoder_layer(graph: _GraphBuilder, config: Any, x: str, mask: str, layer: str) -> str:
    """One encoder layer, [batch, length, hidden] -> the same shape (Devlin et al. 2018, section 3).

    mask: the bias of the attention scores. layer: prefix of its weights' names.
    """
    attended = graph.linear(_attention(graph, config, x, mask, layer), f"{layer}self_attn.out_proj")
    residual = graph.node("Add", [attended, x], f"{layer}attention.residual")
    x = graph.layer_norm(residual, f"{layer}norm1", config.layer_norm_eps)
    inner = _activation(graph, config.hidden_act, graph.linear(x, f"{layer}linear1"))
    residual = graph.node("Add", [graph.linear(inner, f"{layer}linear2"), x], f"{layer}residual")
    return graph.layer_norm(residual, f"{layer}norm2", config.layer_norm_eps)


def _attention(graph: _GraphBuilder, config: Any, x: str, mask: str, layer: str) -> str:
    """Multi-head self-attention before the output projection, [batch, length, hidden].

    Queries, keys and values are computed in one matrix product, from concatenated weights.
    """
    heads, hidden = config.num_attention_heads, config.hidden_size
    prefix = f"{layer}self_attn."
    qkv = graph.linear(
        x, graph.concat_linear([f"{prefix}{part}_proj" for part in "qkv"], f"{prefix}qkv_proj")
    )
    # In the shape of a Reshape, 0 keeps the size of the input's axis.
    shape = graph.ints("split_heads", [0, 0, 3 * heads, hidden // heads])
    by_head = graph.node("Reshape", [qkv, shape], f"{prefix}by_head")
    by_head = graph.node("Transpose", [by_head], f"{prefix}transposed", perm=(0, 2, 1, 3))
    query, key, value = graph.split(by_head, [f"{prefix}{part}" for part in "qkv"], heads)
    key_transposed = graph.node("Transpose", [key], f"{prefix}k_turned", perm=(0, 1, 3, 2))
    products = graph.node("MatMul", [query, key_transposed], f"{prefix}products")
    scale = graph.number("scale", 1 / math.sqrt(hidden // heads))
    scores = graph.node("Mul", [products, scale], f"{prefix}scores")
    masked = graph.node("Add", [scores, mask], f"{prefix}masked")
    probs = graph.node("Softmax", [masked], f"{prefix}shares", axis=-1)
    context = graph.node("MatMul", [probs, value], f"{prefix}mixed")
    by_token = graph.node("Transpose", [context], f"{prefix}by_row", perm=(0, 2, 1, 3))
    join = graph.ints("join_heads", [0, 0, hidden])
    return graph.node("Reshape", [by_token, join], f"{prefix}joined")


def _activation(graph: _GraphBuilder, name: str, x: str) -> str:
    """The activation function of this name, applied to x. gelu is x/2 (1 + erf(x / sqrt 2)), the
    default of Paddle and transformers."""
    if name in _SAME_IN_ONNX:
        return graph.node(_SAME_IN_ONNX[name], [x], f"{x}.{name}")
    if name in ("silu", "swish"):
        return graph.node("Mul", [x, graph.node("Sigmoid", [x], f"{x}.sigmoid")], f"{x}.silu")
    if name == "mish":
        softplus = graph.node("Softplus", [x], f"{x}.softplus")
        return graph.node("Mul", [x, graph.node("Tanh", [softplus], f"{x}.tanh")], f"{x}.mish")
    if name == "relu6":
        bounds = [graph.number("zero_activation", 0.0), graph.number("six", 6.0)]
        return graph.node("Clip", [x, *bounds], f"{x}.relu6")
    if is_tanh_gelu(name):
        return _tanh_gelu(graph, x)
    scaled = graph.node("Div", [x, graph.number("root_two", math.sqrt(2))], f"{x}.scaled")
    one = graph.number("one", 1.0)
    factor = graph.node("Add", [graph.node("Erf", [scaled], f"{x}.erf"), one], f"{x}.share")
    product = graph.node("Mul", [x, factor], f"{x}.doubled")
    return graph.node("Mul", [product, graph.number("half", 0.5)], f"{x}.gelu")


def _tanh_gelu(graph: _GraphBuilder, x: str) -> str:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    cube = graph.node("Pow", [x, graph.number("three", 3.0)], f"{x}.cube")
    part = graph.node("Mul", [cube, graph.number("cubic_share", 0.044715)], f"{x}.cubic")
    added = graph.node("Add", [x, part], f"{x}.added")
    root = graph.number("root_two_over_pi", math.sqrt(2 / math.pi))
    bounded = graph.node("Tanh", [graph.node("Mul", [added, root], f"{x}.scaled")], f"{x}.tanh")
    factor = graph.node("Add", [bounded, graph.number("one", 1.0)], f"{x}.share")
    product = graph.node("Mul", [x, factor], f"{x}.doubled")
    return graph.node("Mul", [product, graph.number("half", 0.5)], f"{x}.gelu")

"""BERT with a classifier as an ONNX graph, made from the weights by themselves.

    input_ids       -> Gather --+
    token_type_ids  -> Gather --+-> Add -> LayerNorm -> layers -> [CLS] -> pooler -> classifier
    (positions 0 .. length) ----+                         ^
    attention_mask  -> (1 - mask) * -10000 ---------------+

Only operators of the standard (opset 17), placed where ONNX Runtime recognises and fuses them into
its SkipLayerNormalization, BiasGelu and FusedMatMul kernels. In a trace of PaddleNLP's model
(paddle2onnx) queries, keys and values are three products, and it is lost that all inputs have the
same sizes, without which residuals are not fused with their normalisation.
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

FILE, OUTPUT = "model.onnx", "logits"
_OPSET, _IR_VERSION = 17, 8
_MASKED = -10000.0  # added to the scores of padding, as PaddleNLP's BERT does
_MOST = 2**31 - 2**20  # bytes in one protobuf file
_EMBEDDINGS, _LAYER = "bert.embeddings.", "bert.encoder.layers.{}."


def write(source: ExportSource, folder: Path) -> None:
    """Write model.onnx: int64 [batch, length] of any sizes -> float32 logits [batch, classes];
    with it the configuration and the tokenizer. Raises WeightsError for a model too large."""
    tensors = source.tensors()
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > _MOST:
        raise WeightsError(
            f"{source.folder} has {size} bytes of weights, and one ONNX file holds {_MOST}: export "
            "it as hf or paddle_inference"
        )
    (folder / FILE).write_bytes(build(source.config, tensors).SerializeToString())
    hugging_face.write_about(source, folder)


def build(config: Any, tensors: dict[str, np.ndarray]) -> Any:
    """The onnx.ModelProto of a classifier.

    config: PaddleNLP's BertConfig. tensors: float32 under Paddle's names, Linear as [in, out]; the
    initializers keep these names.
    """
    graph = _Graph(tensors)
    mask = _mask(graph)
    hidden = _embeddings(graph, config)
    for number in range(config.num_hidden_layers):
        hidden = _layer(graph, config, hidden, mask, _LAYER.format(number))
    graph.node("Gather", [hidden, graph.ints("first_position", 0)], "first_token", axis=1)
    pooled = graph.gemm("first_token", "bert.pooler.dense")
    if config.pool_act == "tanh":
        pooled = graph.node("Tanh", [pooled], "pooled")
    graph.gemm(pooled, "classifier", OUTPUT)
    return graph.model(classes=len(tensors["classifier.bias"]))


class _Graph:
    """Nodes and constants, as they come. Every method returns the name of what it makes."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.tensors = dict(tensors)
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str) -> str:
        self.constants[name] = self.tensors[name]
        return name

    def ints(self, name: str, value: int | list[int]) -> str:
        self.constants[name] = np.array(value, np.int64)
        return name

    def number(self, name: str, value: float) -> str:
        self.constants[name] = np.array(value, np.float32)
        return name

    def linear(self, x: str, layer: str) -> str:
        """x [..., in] times a Linear layer's weight, and its bias."""
        product = self.node("MatMul", [x, self.weight(f"{layer}.weight")], f"{layer}.product")
        return self.node("Add", [product, self.weight(f"{layer}.bias")], f"{layer}.output")

    def side_by_side(self, layers: list[str], name: str) -> str:
        """One Linear layer whose outputs are those of several, in their order."""
        for part in ("weight", "bias"):
            parts = [self.tensors[f"{layer}.{part}"] for layer in layers]
            self.tensors[f"{name}.{part}"] = np.concatenate(parts, axis=-1)
        return name

    def split(self, x: str, outputs: list[str], size: int) -> list[str]:
        """x in parts of `size` each along axis 1."""
        from onnx import helper

        sizes = self.ints("split_sizes", [size] * len(outputs))
        self.nodes.append(helper.make_node("Split", [x, sizes], outputs, name=outputs[0], axis=1))
        return outputs

    def gemm(self, x: str, layer: str, output: str = "") -> str:
        """As `linear`, of x [batch, in]."""
        inputs = [x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")]
        return self.node("Gemm", inputs, output or f"{layer}.output")

    def norm(self, x: str, layer: str, epsilon: float) -> str:
        inputs = [x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")]
        output = f"{layer}.output"
        return self.node("LayerNormalization", inputs, output, axis=-1, epsilon=epsilon)

    def model(self, classes: int) -> Any:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        dims = ["batch", "length"]
        inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, dims) for n in INPUTS]
        output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", classes])
        constants = [numpy_helper.from_array(v, name) for name, v in self.constants.items()]
        # That a row has as many positions as word pieces cannot be inferred; said here, all further
        # shapes are, and kernels can be fused.
        width = self.tensors[f"{_EMBEDDINGS}position_embeddings.weight"].shape[1]
        known = helper.make_tensor_value_info("positions", TensorProto.FLOAT, ["length", width])
        graph = helper.make_graph(
            self.nodes, "bert", inputs, [output], constants, value_info=[known]
        )
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            producer_name="bert_paddle",
            producer_version=__version__,
            ir_version=_IR_VERSION,
        )
        onnx.checker.check_model(made)
        return made


def _mask(graph: _Graph) -> str:
    """attention_mask [batch, length] -> what is added to the scores, [batch, 1, 1, length]."""
    wide = graph.node("Unsqueeze", ["attention_mask", graph.ints("mask_axes", [1, 2])], "mask.wide")
    real = graph.node("Cast", [wide], "mask.float", to=1)
    padding = graph.node("Sub", [graph.number("one", 1.0), real], "mask.padding")
    return graph.node("Mul", [padding, graph.number("masked", _MASKED)], "mask.added")


def _embeddings(graph: _Graph, config: Any) -> str:
    """The three embeddings' normalised sum, [batch, length, hidden]."""
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
    return graph.norm(added, f"{layer}layer_norm", config.layer_norm_eps)


def _layer(graph: _Graph, config: Any, x: str, mask: str, layer: str) -> str:
    """One encoder layer, [batch, length, hidden] to the same (Devlin et al. 2018, section 3)."""
    attended = graph.linear(_attention(graph, config, x, mask, layer), f"{layer}self_attn.out_proj")
    added = graph.node("Add", [attended, x], f"{layer}attention.residual")
    x = graph.norm(added, f"{layer}norm1", config.layer_norm_eps)
    wide = _activation(graph, config.hidden_act, graph.linear(x, f"{layer}linear1"))
    added = graph.node("Add", [graph.linear(wide, f"{layer}linear2"), x], f"{layer}residual")
    return graph.norm(added, f"{layer}norm2", config.layer_norm_eps)


def _attention(graph: _Graph, config: Any, x: str, mask: str, layer: str) -> str:
    """Attention of all heads, [batch, length, hidden], before the output projection.

    Queries, keys and values come from one product, with their weights side by side.
    """
    heads, hidden = config.num_attention_heads, config.hidden_size
    own = f"{layer}self_attn."
    joined = graph.linear(
        x, graph.side_by_side([f"{own}{part}_proj" for part in "qkv"], f"{own}qkv_proj")
    )
    shape = graph.ints("split_heads", [0, 0, 3 * heads, hidden // heads])
    by_head = graph.node("Reshape", [joined, shape], f"{own}by_head")
    by_head = graph.node("Transpose", [by_head], f"{own}transposed", perm=(0, 2, 1, 3))
    query, key, value = graph.split(by_head, [f"{own}{part}" for part in "qkv"], heads)
    turned = graph.node("Transpose", [key], f"{own}k_turned", perm=(0, 1, 3, 2))
    products = graph.node("MatMul", [query, turned], f"{own}products")
    scale = graph.number("scale", 1 / math.sqrt(hidden // heads))
    scores = graph.node("Mul", [products, scale], f"{own}scores")
    masked = graph.node("Add", [scores, mask], f"{own}masked")
    shares = graph.node("Softmax", [masked], f"{own}shares", axis=-1)
    mixed = graph.node("MatMul", [shares, value], f"{own}mixed")
    by_row = graph.node("Transpose", [mixed], f"{own}by_row", perm=(0, 2, 1, 3))
    join = graph.ints("join_heads", [0, 0, hidden])
    return graph.node("Reshape", [by_row, join], f"{own}joined")


def _activation(graph: _Graph, kind: str, x: str) -> str:
    """gelu is x/2 (1 + erf(x / sqrt 2)), as Paddle and transformers compute it by default."""
    if kind == "relu":
        return graph.node("Relu", [x], f"{x}.relu")
    if kind in ("silu", "swish"):
        return graph.node("Mul", [x, graph.node("Sigmoid", [x], f"{x}.sigmoid")], f"{x}.silu")
    scaled = graph.node("Div", [x, graph.number("root_two", math.sqrt(2))], f"{x}.scaled")
    one = graph.number("one", 1.0)
    share = graph.node("Add", [graph.node("Erf", [scaled], f"{x}.erf"), one], f"{x}.share")
    product = graph.node("Mul", [x, share], f"{x}.doubled")
    return graph.node("Mul", [product, graph.number("half", 0.5)], f"{x}.gelu")

"""Write bert_paddle/cli/selfcheck/reference.json anew: losses, gradients and weights of the small
model of `bert-paddle check`, in float64 by numpy alone.

    .venv/bin/python tests/reference/selfcheck.py            write the file
    .venv/bin/python tests/reference/selfcheck.py --rounding what half precision changes

BERT, its losses, AdamW and LAMB are written here once more, from their papers; nothing of Paddle
and of the product is used but the initial weights and the rows (small_model.py).

--rounding trains again with the inputs and outputs of matrix products (O1) or of all operations
(O2) rounded to bfloat16 or float16, and prints the largest differences: the tolerances in
bert_paddle/cli/selfcheck/ways.py are some times larger.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from scipy.special import erf

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bert_paddle.cli.selfcheck import compare, small_model  # noqa: E402

STORED = ROOT / "bert_paddle" / "cli" / "selfcheck" / "reference.json"
BETA1, BETA2 = 0.9, 0.999
EXACT = {"product": lambda x: x, "other": lambda x: x}
_rounding = EXACT


class Node:
    """An array, and how its gradient reaches what it was computed from."""

    def __init__(self, value, parents=(), backward=None, kind="other"):
        self.value = _rounding[kind](np.asarray(value, np.float64))
        self.parents, self.back, self.kind = parents, backward, kind
        self.grad = np.zeros_like(self.value)

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = np.ones_like(self.value)
        for node in reversed(order):
            if node.parents:
                gradients = node.back(_rounding[node.kind](node.grad))
                for parent, gradient in zip(node.parents, gradients, strict=True):
                    parent.grad = parent.grad + _rounding[node.kind](gradient)


def unbroadcast(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient.sum(0)
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axes, keepdims=True) if axes else gradient


def add(a, b):
    return Node(
        a.value + b.value,
        (a, b),
        lambda g: (unbroadcast(g, a.value.shape), unbroadcast(g, b.value.shape)),
    )


def matmul(a, b):
    """[..., m, k] x [..., k, n]"""
    narrow = _rounding["product"]
    x, y = narrow(a.value), narrow(b.value)

    def backward(g):
        left, right = g @ np.swapaxes(y, -1, -2), np.swapaxes(x, -1, -2) @ g
        return unbroadcast(left, x.shape), unbroadcast(right, y.shape)

    return Node(x @ y, (a, b), backward, "product")


def scaled(a, factor):
    return Node(a.value * factor, (a,), lambda g: (g * factor,))


def reshaped(a, shape):
    return Node(a.value.reshape(shape), (a,), lambda g: (g.reshape(a.value.shape),))


def transposed(a, axes):
    return Node(a.value.transpose(axes), (a,), lambda g: (g.transpose(np.argsort(axes)),))


def rows_of(a, index):
    def backward(g):
        whole = np.zeros_like(a.value)
        np.add.at(whole, index, g)
        return (whole,)

    return Node(a.value[index], (a,), backward)


def softmax(a):
    e = np.exp(a.value - a.value.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    return Node(p, (a,), lambda g: (p * (g - (g * p).sum(-1, keepdims=True)),))


def gelu(a):
    x = a.value
    cdf = 0.5 * (1 + erf(x / math.sqrt(2)))
    slope = cdf + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return Node(x * cdf, (a,), lambda g: (g * slope,))


def tanh(a):
    t = np.tanh(a.value)
    return Node(t, (a,), lambda g: (g * (1 - t * t),))


def layer_norm(a, weight, bias, epsilon):
    centred = a.value - a.value.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    normed, width = centred / deviation, a.value.shape[-1]

    def backward(g):
        inner = g * weight.value
        means = inner.mean(-1, keepdims=True), (inner * normed).mean(-1, keepdims=True)
        flat = (-1, width)
        return (
            (inner - means[0] - normed * means[1]) / deviation,
            (g * normed).reshape(flat).sum(0),
            g.reshape(flat).sum(0),
        )

    return Node(normed * weight.value + bias.value, (a, weight, bias), backward)


def mean_cross_entropy(logits, labels):
    rows = np.arange(len(labels))
    shifted = logits.value - logits.value.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    def backward(g):
        difference = np.exp(logs)
        difference[rows, labels] -= 1
        return (g * difference / len(labels),)

    return Node(-logs[rows, labels].mean(), (logits,), backward)


def linear(x, weights, name):
    return add(matmul(x, weights[f"{name}.weight"]), weights[f"{name}.bias"])


def norm(x, weights, name, epsilon):
    return layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)


def encode(weights, batch):
    """BERT's encoder (Devlin et al. 2019), post-norm: [rows, length, hidden]."""
    config, ids = small_model.CONFIG, batch["input_ids"]
    rows, length = ids.shape
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    size, epsilon = hidden // heads, config["layer_norm_eps"]
    name = "bert.embeddings"
    words = rows_of(weights[f"{name}.word_embeddings.weight"], ids)
    places = rows_of(weights[f"{name}.position_embeddings.weight"], np.arange(length))
    segments = rows_of(weights[f"{name}.token_type_embeddings.weight"], batch["segment_ids"])
    x = norm(add(add(words, places), segments), weights, f"{name}.layer_norm", epsilon)
    mask = Node((1 - batch["input_mask"])[:, None, None, :] * -1e4)
    for layer in range(config["num_hidden_layers"]):
        name = f"bert.encoder.layers.{layer}"

        def heads_of(projection, x=x, name=name):
            y = linear(x, weights, f"{name}.self_attn.{projection}_proj")
            return transposed(reshaped(y, (rows, length, heads, size)), (0, 2, 1, 3))

        q, k, v = map(heads_of, "qkv")
        scores = matmul(scaled(q, size**-0.5), transposed(k, (0, 1, 3, 2)))
        attended = matmul(softmax(add(scores, mask)), v)
        attended = reshaped(transposed(attended, (0, 2, 1, 3)), (rows, length, hidden))
        attended = linear(attended, weights, f"{name}.self_attn.out_proj")
        x = norm(add(x, attended), weights, f"{name}.norm1", epsilon)
        inner = gelu(linear(x, weights, f"{name}.linear1"))
        x = norm(
            add(x, linear(inner, weights, f"{name}.linear2")), weights, f"{name}.norm2", epsilon
        )
    return x


def losses(head, weights, batch):
    """The loss of each term: means over rows, and over masked tokens."""
    x = encode(weights, batch)
    rows, length, hidden = x.value.shape
    flat = reshaped(x, (rows * length, hidden))
    first = rows_of(flat, np.arange(rows) * length)
    pooled = tanh(linear(first, weights, "bert.pooler.dense"))
    if head == small_model.FINE_TUNING:
        logits = linear(pooled, weights, "classifier")
        return {"loss": mean_cross_entropy(logits, batch["labels"])}
    masked = rows_of(flat, batch["masked_positions"])
    masked = gelu(linear(masked, weights, "cls.predictions.transform"))
    epsilon = small_model.CONFIG["layer_norm_eps"]
    masked = norm(masked, weights, "cls.predictions.layer_norm", epsilon)
    table = transposed(weights["bert.embeddings.word_embeddings.weight"], (1, 0))
    words = add(matmul(masked, table), weights["cls.predictions.decoder_bias"])
    return {
        "mlm": mean_cross_entropy(words, batch["masked_lm_ids"]),
        "nsp": mean_cross_entropy(
            linear(pooled, weights, "cls.seq_relationship"), batch["next_sentence_labels"]
        ),
    }


def is_decayed(name):
    return not name.endswith("bias") and "norm" not in name


def learning_rate(step):
    """Linear, as in google-research/bert: `step - 1` steps are done."""
    peak, warmup, done = (
        small_model.SETTINGS["learning_rate"],
        small_model.SETTINGS["warmup_steps"],
        step - 1,
    )
    if done < warmup:
        return peak * done / warmup
    return peak * (small_model.STEPS - done) / (small_model.STEPS - warmup)


def optimizer_step(optimizer, step, weight, gradient, moments, decay):
    """AdamW (Loshchilov and Hutter 2019) and LAMB (You et al. 2020), with bias correction; LAMB's
    trust ratio only where there is weight decay, as in Paddle."""
    rate, epsilon = learning_rate(step), small_model.SETTINGS["adam_epsilon"]
    moments[0] = BETA1 * moments[0] + (1 - BETA1) * gradient
    moments[1] = BETA2 * moments[1] + (1 - BETA2) * gradient**2
    first, second = moments[0] / (1 - BETA1**step), moments[1] / (1 - BETA2**step)
    direction = first / (np.sqrt(second) + epsilon)
    if optimizer == "adamw":
        return weight * (1 - rate * decay) - rate * direction
    direction = direction + decay * weight
    ratio = np.linalg.norm(weight) / np.linalg.norm(direction) if decay else 1.0
    return weight - rate * ratio * direction


def train(head, optimizer, rounding=EXACT):
    global _rounding
    start = {name: w.astype(np.float64) for name, w in small_model.initial_weights(head).items()}
    weights = dict(start)
    moments = {name: [0.0, 0.0] for name in weights}
    record, largest = compare.Recording(), 0.0
    for step in range(1, small_model.STEPS + 1):
        _rounding = rounding
        nodes = {name: Node(value) for name, value in weights.items()}
        terms = losses(head, nodes, small_model.batch(head, step))
        total = Node(0.0)
        for term in terms.values():
            total = add(total, term)
        total.backward()
        _rounding = EXACT
        gradients = {name: node.grad for name, node in nodes.items()}
        largest = max(largest, *(np.abs(g).max() for g in gradients.values()))
        record.add_step({name: term.value for name, term in terms.items()}, gradients)
        length = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        clip = min(1.0, small_model.SETTINGS["max_grad_norm"] / length)
        for name, gradient in gradients.items():
            decay = small_model.SETTINGS["weight_decay"] if is_decayed(name) else 0.0
            weights[name] = optimizer_step(
                optimizer, step, weights[name], gradient * clip, moments[name], decay
            )
    return record.finish(start, weights), largest


def to_bfloat16(x):
    bits = np.asarray(x, np.float32).view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return (bits & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def to_float16(x):
    return np.asarray(x).astype(np.float16).astype(np.float64)


def rounded_differences():
    for name, narrow in (("bfloat16", to_bfloat16), ("float16", to_float16)):
        for level in ("O1", "O2"):
            rounding = (
                EXACT | {"product": narrow} if level == "O1" else dict.fromkeys(EXACT, narrow)
            )
            for optimizer in ("adamw", "lamb"):
                worst = []
                for head in small_model.HEADS:
                    exact, rounded = train(head, optimizer)[0], train(head, optimizer, rounding)[0]
                    worst.append(compare.deviations(rounded, exact))
                print(name, level, optimizer, *worst, sep="\n   ")


def main():
    if "--rounding" in sys.argv:
        return rounded_differences()
    stored = {}
    for optimizer in ("adamw", "lamb"):
        for head in small_model.HEADS:
            stored.setdefault(optimizer, {})[head], largest = train(head, optimizer)
            print(f"{optimizer}, {head}: largest element of a gradient {largest:.3g}")
            assert largest * 65536 < 0.5 * 65504, "overflows in float16 with Paddle's loss scale"
    about = {"made_by": "tests/reference/selfcheck.py", "numpy": np.__version__}
    text = json.dumps({"about": about, "runs": stored}).replace(', "', ',\n"')
    STORED.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""How a model is computed, which changes results by rounding at most: by our kernels, or by
PaddleNLP's layers with recomputation, flash attention or as a static graph.

Made for GPUs, where an update is queued and the host goes on; all of it computes on CPUs too.
"""

import warnings
from collections.abc import Iterator
from types import MethodType
from typing import Any

import numpy as np

from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import dispatch

_BY_LAYERS = ("recompute", "to_static", "flash_attention")
_MOST_HEAD, _HEAD_MULTIPLE, _LEAST_CAPABILITY = 256, 8, (8, 0)  # of Paddle's flash attention


def set_compute_mode(model: Any, args: CommonArgs, log: RunLog) -> None:
    """Have a BertForSequenceClassification or BertForPretraining computed as the flags say. Its
    parameters, and their names, stay as they are."""
    on_gpu = collectives.on_gpu()
    asked = [f"--{name}" for name in _BY_LAYERS if getattr(args, name)]
    if asked and not on_gpu:
        model.by_kernels = False
        log.note(f"encoder: PaddleNLP's layers, for {', '.join(asked)}; our kernels are off")
    else:
        dispatch.choose_encoder(model, args.cpu_kernels, log)
    if args.fused_adamw and not on_gpu:
        log.note("--fused_adamw has no effect on the CPU")
    if args.recompute:
        model.bert.encoder.enable_recompute = True  # while gradients are wanted; same dropout
    if args.flash_attention:
        half = args.amp_dtype if args.use_amp and on_gpu else None
        for reason in _no_flash(model.config, half) if on_gpu else ["it runs on GPUs only"]:
            log.note(f"--flash_attention: no flash kernel ({reason}); Paddle takes another one")
        for layer in model.bert.encoder.layers:
            _replace_forward(layer.self_attn, MethodType(_attention(half), layer.self_attn))
    if args.to_static:
        _replace_forward(model, _static(model))


def tensor(array: np.ndarray) -> Any:
    """The array on the device of this process. On a GPU the copy is queued behind the work under
    way: `paddle.to_tensor` alone would wait for all of it."""
    import paddle

    if not collectives.on_gpu():
        return paddle.to_tensor(array)
    return paddle.to_tensor(array, place=paddle.CPUPlace()).cuda(blocking=False)


def _replace_forward(layer: Any, forward: Any) -> None:
    # Past PaddleNLP, which wraps what is assigned to `forward` for its own needs.
    object.__setattr__(layer, "forward", forward)


def _no_flash(config: Any, half: str | None) -> Iterator[str]:
    """Why a GPU's flash kernel cannot be taken; nothing where it can."""
    import paddle

    size = config.hidden_size // config.num_attention_heads
    if half is None:
        yield "it takes half precision only: give --use_amp"
    if size > _MOST_HEAD or size % _HEAD_MULTIPLE:
        yield f"heads are {size} wide, not a multiple of {_HEAD_MULTIPLE} up to {_MOST_HEAD}"
    if paddle.device.cuda.get_device_capability() < _LEAST_CAPABILITY:
        yield "the GPU is older than Ampere"


def _attention(half: str | None) -> Any:
    """A forward of paddle.nn.MultiHeadAttention for self-attention, by
    scaled_dot_product_attention, which chooses a kernel by type, sizes and device.

    half: the type to compute in, which automatic mixed precision may not have come to here.
    """

    def forward(self: Any, query: Any, key: Any, value: Any, attn_mask: Any, cache: Any) -> Any:
        import paddle
        import paddle.nn.functional as F

        projections = (self.q_proj, query), (self.k_proj, key), (self.v_proj, value)
        heads = [
            project(x).reshape([0, 0, self.num_heads, self.head_dim]) for project, x in projections
        ]
        q, k, v = [one.astype(half) for one in heads] if half else heads
        # [rows, 1, 1, keys], zeros and -10,000: by query, as the kernels take it, in their type.
        length = q.shape[1] if paddle.in_dynamic_mode() else paddle.shape(q)[1]
        mask = attn_mask.astype(q.dtype).expand([-1, -1, length, -1])
        attended = F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p=self.dropout, training=self.training
        )
        return self.out_proj(attended.reshape([0, 0, self.embed_dim]))

    return forward


def _classify(self: Any, input_ids: Any, token_type_ids: Any, attention_mask: Any) -> Any:
    return type(self).forward(
        self, input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask
    )


def _predict_words(
    self: Any, input_ids: Any, token_type_ids: Any, attention_mask: Any, masked_positions: Any
) -> Any:
    return type(self).forward(
        self,
        input_ids,
        token_type_ids=token_type_ids,
        attention_mask=attention_mask,
        masked_positions=masked_positions,
    )


def _static(model: Any) -> Any:
    """A forward by Paddle's static graphs, one to train and one to evaluate, each traced when it
    is first called, in the precision of that call. Any number of rows and any length."""
    import paddle

    warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")
    dimensions = {"input_ids": 2, "token_type_ids": 2, "attention_mask": 2}
    function: Any = _classify
    if hasattr(model, "cls"):
        dimensions["masked_positions"], function = 1, _predict_words
    spec = [
        paddle.static.InputSpec([None] * count, "int64", name) for name, count in dimensions.items()
    ]
    # Without CINN, which the CPU build has not: the graph is run by the kernels of the layers.
    static = paddle.jit.to_static(
        MethodType(function, model), input_spec=spec, full_graph=True, backend=None
    )
    _, *others = dimensions

    def forward(input_ids: Any, **given: Any) -> Any:
        return static(input_ids, *(given[name] for name in others))

    return forward

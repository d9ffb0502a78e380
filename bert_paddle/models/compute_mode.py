"""Sets how a model is computed: by our CPU kernels, or by PaddleNLP's layers, optionally with
recomputation, flash attention or static graphs. Results differ by rounding at most.

These options are meant for GPUs, but also run on CPUs.
"""

import warnings
from collections.abc import Iterator
from types import MethodType
from typing import Any

import numpy as np

from bert_paddle.common.args import PADDLENLP_LAYERS, CommonArgs
from bert_paddle.common.flag_fields import OnResume, flag_names
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import dispatch, encoder
from bert_paddle.models.kernels.products import FLOAT32, Products

# Limits of Paddle's flash attention.
_MAX_HEAD_SIZE, _HEAD_SIZE_MULTIPLE, _MIN_CAPABILITY = 256, 8, (8, 0)


def set_compute_mode(model: Any, args: CommonArgs, log: RunLog) -> bool:
    """Choose the encoder of a BertForSequenceClassification or BertForPretraining and replace its
    forward methods as the flags require; its parameters and their names do not change.

    Returns whether our CPU kernels compute the model, the same on all ranks."""
    on_gpu = collectives.on_gpu()
    names = flag_names(type(args), part=PADDLENLP_LAYERS)
    layer_flags = [f"--{name}" for name in names if getattr(args, name)]
    if layer_flags and not on_gpu:
        by_kernels = False
        log.note(f"encoder: PaddleNLP's layers, for {', '.join(layer_flags)}; our kernels are off")
    else:
        by_kernels = dispatch.choose_kernels(model, args.cpu_kernels, log)
    if args.fused_adamw and not on_gpu:
        log.note("--fused_adamw has no effect on the CPU")
    if args.recompute:  # recomputes with the same dropout masks
        model.bert.encoder.enable_recompute = True
    if args.flash_attention:
        amp_dtype = args.amp_dtype if args.use_amp and on_gpu else None
        for reason in _flash_unsupported_reasons(model.config, amp_dtype, on_gpu):
            log.note(f"--flash_attention: Paddle uses an ordinary attention kernel ({reason})")
        forward = _flash_attention_forward(amp_dtype)
        for layer in model.bert.encoder.layers:
            _replace_forward(layer.self_attn, MethodType(forward, layer.self_attn))
    if args.to_static:
        _replace_forward(model, _static_forward(model))
    return by_kernels


def choose_products(args: CommonArgs, by_kernels: bool, log: RunLog) -> Products:
    """How our CPU kernels multiply matrices, as --use_amp and --amp_dtype ask for, the same on all
    ranks. by_kernels: see `set_compute_mode`."""
    if not args.use_amp or collectives.on_gpu():
        return FLOAT32
    return dispatch.choose_products(args.amp_dtype, by_kernels, log)


def describe_mode(
    args: CommonArgs, by_kernels: bool, products: str = FLOAT32.name
) -> dict[str, str]:
    """How the model is computed, by name: what the draws of dropout and the rounding of results
    depend on. A checkpoint stores it. by_kernels: see `set_compute_mode`; products: the name of
    `choose_products`' choice.

    --recompute is not in it: it draws the same masks and gives the same results.
    """
    import paddle

    on_gpu = collectives.on_gpu()
    names = flag_names(type(args), on_resume=OnResume.COMPUTE_MODE)
    switches = {name: getattr(args, name) for name in names if name != "cpu_kernels"}
    switches["fused_adamw"] = args.fused_adamw and on_gpu
    return {
        "device": "gpu" if on_gpu else "cpu",
        "processes": str(collectives.get_world().size),
        "encoder": "kernels" if by_kernels else "layers",
        "products": products,
        "paddle": paddle.__version__,
        **{name: flag_text(value) for name, value in switches.items()},
    }


def flag_text(value: Any) -> str:
    """The value of a flag that chooses how a model is computed, as `describe_mode` gives it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def kernels_unavailable_reason(model: Any) -> str:
    """Why our CPU kernels cannot compute this model on some rank's machine, whatever the flags; ""
    if they can. All ranks must call this together."""
    if not hasattr(model, "bert"):
        return ""  # of another architecture, which they do not compute anywhere
    reasons = collectives.all_gather(encoder.unsupported_reason(model.bert))
    return next((reason for reason in reasons if reason), "")


def to_device(array: np.ndarray) -> Any:
    """The array as a tensor on this process's device. On a GPU the copy is only queued;
    `paddle.to_tensor` alone would first wait for earlier GPU work to finish."""
    import paddle

    if not collectives.on_gpu():
        return paddle.to_tensor(array)
    return paddle.to_tensor(array, place=paddle.CPUPlace()).cuda(blocking=False)


def _replace_forward(layer: Any, forward: Any) -> None:
    # On the layer itself: Paddle's encoder and PaddleNLP's heads call it, and take no function in
    # its place.
    # object.__setattr__, since that of PaddleNLP's models wraps any function assigned to `forward`.
    object.__setattr__(layer, "forward", forward)


def _flash_unsupported_reasons(config: Any, amp_dtype: str | None, on_gpu: bool) -> Iterator[str]:
    """Yields each reason why Paddle's flash attention kernel cannot run."""
    import paddle

    if not on_gpu:
        yield "the flash kernel runs on GPUs only"
        return

    head_size = config.hidden_size // config.num_attention_heads
    if amp_dtype is None:
        yield "the flash kernel needs half precision: give --use_amp"
    if head_size > _MAX_HEAD_SIZE or head_size % _HEAD_SIZE_MULTIPLE:
        limit = f"a multiple of {_HEAD_SIZE_MULTIPLE} up to {_MAX_HEAD_SIZE}"
        yield f"the head size is {head_size}, not {limit}"
    if paddle.device.cuda.get_device_capability() < _MIN_CAPABILITY:
        yield "the GPU is older than Ampere"


def _flash_attention_forward(amp_dtype: str | None) -> Any:
    """A forward method for paddle.nn.MultiHeadAttention, for self-attention only, that calls
    scaled_dot_product_attention; this chooses a kernel by dtype, sizes and device.

    amp_dtype: the half-precision dtype to cast query, key and value to, which automatic mixed
    precision may have left in float32; None for no cast.
    """

    def forward(self: Any, query: Any, key: Any, value: Any, attn_mask: Any, cache: Any) -> Any:
        import paddle
        import paddle.nn.functional as F

        projections = (self.q_proj, query), (self.k_proj, key), (self.v_proj, value)
        # A 0 in a new shape keeps the size: [batch, length, heads, head size].
        heads = [
            project(x).reshape([0, 0, self.num_heads, self.head_dim]) for project, x in projections
        ]
        q, k, v = [x.astype(amp_dtype) for x in heads] if amp_dtype else heads
        # The kernels need the mask [batch, 1, 1, keys] (0 or -10,000) expanded over the queries.
        length = q.shape[1] if paddle.in_dynamic_mode() else paddle.shape(q)[1]
        mask = attn_mask.astype(q.dtype).expand([-1, -1, length, -1])
        attended = F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p=self.dropout, training=self.training
        )
        return self.out_proj(attended.reshape([0, 0, self.embed_dim]))

    return forward


# Both functions take positional arguments in the order of the InputSpecs. type(self).forward: the
# class's own, since the instance's `forward` is replaced by the static one.
def _classifier_forward(self: Any, input_ids: Any, token_type_ids: Any, attention_mask: Any) -> Any:
    return type(self).forward(
        self, input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask
    )


def _pretraining_forward(
    self: Any, input_ids: Any, token_type_ids: Any, attention_mask: Any, masked_positions: Any
) -> Any:
    return type(self).forward(
        self,
        input_ids,
        token_type_ids=token_type_ids,
        attention_mask=attention_mask,
        masked_positions=masked_positions,
    )


def _static_forward(model: Any) -> Any:
    """A forward function that runs Paddle's static graphs: one for training and one for evaluation,
    each traced at its first call with the precision of that call. Batch size and length may
    vary."""
    import paddle

    warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")
    dimensions = {"input_ids": 2, "token_type_ids": 2, "attention_mask": 2}
    function: Any = _classifier_forward
    if hasattr(model, "cls"):
        dimensions["masked_positions"], function = 1, _pretraining_forward
    spec = [
        paddle.static.InputSpec([None] * count, "int64", name) for name, count in dimensions.items()
    ]
    # backend=None: without the CINN compiler, which the CPU build lacks; the graph runs the same
    # kernels as the layers.
    static_model = paddle.jit.to_static(
        MethodType(function, model), input_spec=spec, full_graph=True, backend=None
    )
    _, *input_names = dimensions  # after input_ids, in the order of input_spec

    def forward(input_ids: Any, **inputs: Any) -> Any:
        return static_model(input_ids, *(inputs[name] for name in input_names))

    return forward

"""Mixed precision without a GPU: Paddle's own loss scaler, and fakes of the rest."""

import contextlib


class GpuPlace:
    """What Paddle asks of the tracer before it enables a scaler."""

    class _expected_place:
        is_gpu_place = is_xpu_place = is_custom_place = staticmethod(lambda: True)


def install(monkeypatch) -> list[tuple[str, dict]]:
    """Paddle's scaler works as on a GPU; autocast and decorate, which need half-precision kernels,
    only append their names and arguments to the list that is returned."""
    import paddle
    from paddle.amp import grad_scaler

    calls: list[tuple[str, dict]] = []
    state = grad_scaler.amp_global_state()

    @contextlib.contextmanager
    def auto_cast(**options):
        calls.append(("auto_cast", options))
        state.amp_dtype = options["dtype"]  # which stays after the block, as in Paddle
        yield

    def decorate(model, optimizer, **options):
        calls.append(("decorate", options))
        return model, optimizer

    monkeypatch.setattr(grad_scaler, "_dygraph_tracer", GpuPlace)
    monkeypatch.setattr(state, "amp_dtype", "float32")
    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)
    monkeypatch.setattr(paddle.amp, "decorate", decorate)
    return calls

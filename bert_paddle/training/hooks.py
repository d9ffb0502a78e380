"""What is done between two steps of a training: evaluating, saving, sampling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Hook:
    """An action to run every `every` steps (None: at the end of each epoch) and after the last
    step. The model is in evaluation mode; the time does not count as training time.

    saves: whether the action evaluates and saves a checkpoint. When a stop signal interrupts its
    evaluation, it saves, sets `evaluation_pending` in the state, and raises StopSignal, on all
    ranks."""

    every: int | None
    action: Callable[[], None]
    saves: bool = True


def due_hooks(hooks: Sequence[Hook], step: int, last: bool, epoch_over: bool) -> list[Hook]:
    """The hooks to run after a step, in their order. last: whether it is the last step."""
    return [
        hook for hook in hooks if last or (step % hook.every == 0 if hook.every else epoch_over)
    ]

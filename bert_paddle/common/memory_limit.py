"""Errors under a limit on memory, such as that of `ulimit -v`."""

import contextlib
import resource
from collections.abc import Iterator

from bert_paddle.common.errors import RunError

# In messages of the system, of Python and of Paddle, whose errors have no type of their own.
_MEMORY_SIGNS = (
    *("failed to map segment", "cannot allocate memory", "Cannot allocate memory"),
    *("MemoryError", "ResourceExhausted", "bad_alloc", "Unable to allocate"),
)

# Below it the import of Paddle fails, and not always with an error: OpenBLAS can try for ever, and
# C++ ends the process.
_MIN_BYTES = 700 << 20


def check_enough_for_paddle() -> None:
    """Raise RunError if a limit on memory is below what importing Paddle takes."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _MIN_BYTES:
        raise RunError(_too_little(limit, "importing Paddle takes more"))


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn errors in the block into a RunError if a limit on memory has caused them. Any other one
    passes through."""
    try:
        yield
    except (ImportError, MemoryError, OSError, RuntimeError, SystemError) as error:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        text = str(error) or type(error).__name__
        if limit == resource.RLIM_INFINITY or not any(sign in text for sign in _MEMORY_SIGNS):
            raise
        sign = next(sign for sign in _MEMORY_SIGNS if sign in text)
        raise RunError(_too_little(limit, sign)) from error


def _too_little(limit: int, reason: str) -> str:
    return (
        f"{limit >> 20:,} MiB of memory, the limit that is set, are too little ({reason}): raise "
        "it (ulimit -v unlimited)"
    )

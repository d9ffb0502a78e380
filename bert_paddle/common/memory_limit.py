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
        raise RunError(
            f"{limit >> 20:,} MiB of memory, the limit that is set, are too little ({sign}): raise "
            "it (ulimit -v unlimited)"
        ) from error

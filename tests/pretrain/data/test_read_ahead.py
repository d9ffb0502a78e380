"""Reading ahead: memory use and rows read, for shards far larger than both."""

import threading
import tracemalloc

import numpy as np
import pytest

from bert_paddle.pretrain.data.loader import PretrainLoader


class FakeShardSet:
    """A ShardSet of many rows, created when read, so that all memory use is the loader's."""

    length, predictions, rows = 128, 20, (200_000,)
    total = 200_000

    def __init__(self):
        self.read_rows = 0

    def read(self, shard, start, stop):
        self.read_rows += stop - start
        count = stop - start
        return {
            "input_ids": np.ones((count, 128), np.int32),
            "input_mask": np.ones((count, 128), np.int8),
            "segment_ids": np.zeros((count, 128), np.int8),
            "masked_lm_positions": np.ones((count, 20), np.int32),
            "masked_lm_ids": np.ones((count, 20), np.int32),
            "next_sentence_labels": np.zeros(count, np.int8),
        }


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("shards")]


@pytest.mark.parametrize("micro_rows, window, block", [(64, 4096, 512), (1000, 600, 200)])
def test_memory_is_bounded_by_two_windows(micro_rows, window, block):
    shards = FakeShardSet()
    loader = PretrainLoader(shards, 1, micro_rows, 1, 0, 1, 20, True, block, window)
    steps = loader.steps(0, 0)
    tracemalloc.start()
    try:
        for _ in range(4 * window // micro_rows + 4):
            next(steps)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        steps.close()
        tracemalloc.stop()
    row_bytes = 128 * 6 + 20 * 8 + 1
    batch_bytes = micro_rows * (row_bytes + (3 * 128 + 2 * 20 + 1) * 8)
    assert peak < (2 * (window + block) + block) * row_bytes + 3 * batch_bytes
    assert peak < 0.1 * shards.total * row_bytes


def test_no_more_than_the_next_window_is_read_ahead():
    shards, window = FakeShardSet(), 4096
    steps = PretrainLoader(shards, 1, 64, 1, 0, 1, 20, True, 512, window).steps(0, 0)
    next(steps)
    for thread in reading_threads():
        thread.join(0.5)  # gives an unbounded reader time to read more
    assert shards.read_rows <= 2 * (window + 512)
    steps.close()


def test_closing_does_not_read_the_rest_of_the_window(monkeypatch):
    closed = threading.Event()

    class StopEvent(threading.Event):
        def set(self):
            super().set()
            closed.set()

    class WaitingShardSet(FakeShardSet):
        def read(self, shard, start, stop):
            if self.read_rows >= window:
                closed.wait()
            return super().read(shard, start, stop)

    monkeypatch.setattr("bert_paddle.pretrain.data.loader.Event", StopEvent)
    shards, window, block = WaitingShardSet(), 4096, 512
    steps = PretrainLoader(shards, 1, 64, 1, 0, 1, 20, True, block, window).steps(0, 0)
    next(steps)
    steps.close()
    assert shards.read_rows <= window + block

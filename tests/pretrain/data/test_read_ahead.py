"""Reading ahead: how much is held and read, for shards far larger than that."""

import threading
import tracemalloc

import numpy as np
import pytest

from bert_paddle.pretrain.data.loader import PretrainLoader


class Endless:
    """Stands in for Shards of many rows: rows are made when read, so only memory counts."""

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
    data = Endless()
    batches = PretrainLoader(data, 1, micro_rows, 1, 0, 1, 20, True, block, window)
    updates = batches.steps(0, 0)
    tracemalloc.start()
    try:
        for _ in range(4 * window // micro_rows + 4):
            next(updates)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        updates.close()
        tracemalloc.stop()
    row_bytes = 128 * 6 + 20 * 8 + 1
    batch_bytes = micro_rows * (row_bytes + (3 * 128 + 2 * 20 + 1) * 8)
    assert peak < (2 * (window + block) + block) * row_bytes + 3 * batch_bytes
    assert peak < 0.1 * data.total * row_bytes


def test_no_more_than_the_next_window_is_read_ahead():
    data, window = Endless(), 4096
    updates = PretrainLoader(data, 1, 64, 1, 0, 1, 20, True, 512, window).steps(0, 0)
    next(updates)
    for thread in reading_threads():
        thread.join(0.5)  # gives a reader without a bound the time to show
    assert data.read_rows <= 2 * (window + 512)
    updates.close()


def test_closing_does_not_read_the_window_to_its_end(monkeypatch):
    closed = threading.Event()

    class Stop(threading.Event):
        def set(self):
            super().set()
            closed.set()

    class Waiting(Endless):
        def read(self, shard, start, stop):
            if self.read_rows >= window:
                closed.wait()
            return super().read(shard, start, stop)

    monkeypatch.setattr("bert_paddle.pretrain.data.loader.Event", Stop)
    data, window, block = Waiting(), 4096, 512
    updates = PretrainLoader(data, 1, 64, 1, 0, 1, 20, True, block, window).steps(0, 0)
    next(updates)
    updates.close()
    assert data.read_rows <= window + block

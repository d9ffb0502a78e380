"""What a pre-training leaves about itself: run.json, and a report with the terms of the loss."""

import json

import shards
import tiny

from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args
from bert_paddle.pretrain.data import schema


def test_a_pretraining_leaves_its_report(tiny_dir, tmp_path):
    size = tiny.CONFIG["vocab_size"]
    for kind, count, first in ((schema.TRAINING, 12, 0), (schema.TEST, 4, 60)):
        rows = shards.make(count, first, vocab_size=size)
        shards.write(tmp_path / "data" / schema.shard_name("t", kind, 0), rows)
    argv = f"--model_name_or_path {tiny_dir} --input_dir {tmp_path / 'data'} --batch_size 4 "
    argv += f"--output_dir {tmp_path / 'out'} --max_steps 4 --save_steps 2 --logging_steps 1"
    pretrain.run(parse_args(argv.split()))
    said = json.loads((tmp_path / "out/run.json").read_text())
    assert (said["program"], said["metric"]) == ("run_pretrain", ["loss"])
    assert said["higher_is_better"] is False and said["rows"] == {"train": 12, "dev": 4}
    assert said["steps"] == {"planned": 4, "per_epoch": 3} and said["lengths"] is None
    made = {path.stem for path in (tmp_path / "out/pictures").iterdir()}
    curves = {"loss", "loss_terms", "metrics", "perplexity", "learning_rate", "throughput"}
    assert made == curves
    page = (tmp_path / "out/report.html").read_text()
    assert "mlm, training" in page and "nsp, validation" in page

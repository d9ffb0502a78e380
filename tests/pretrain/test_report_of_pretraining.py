"""run.json and the report of a pre-training run, with the terms of the loss."""

import json

import shard_files
import tiny

from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args
from bert_paddle.pretrain.data import schema


def test_pretraining_writes_run_json_and_a_report(tiny_dir, tmp_path):
    size = tiny.CONFIG["vocab_size"]
    for split, count, first in ((schema.TRAINING, 12, 0), (schema.TEST, 4, 60)):
        rows = shard_files.make_rows(count, first, vocab_size=size)
        shard_files.write_shard(tmp_path / "data" / schema.shard_name("t", split, 0), rows)
    argv = f"--model_name_or_path {tiny_dir} --input_dir {tmp_path / 'data'} --batch_size 4 "
    argv += f"--output_dir {tmp_path / 'out'} --max_steps 4 --save_steps 2 --logging_steps 1"
    pretrain.run(parse_args(argv.split()))
    run_info = json.loads((tmp_path / "out/run.json").read_text())
    assert (run_info["program"], run_info["metric"]) == ("run_pretrain", ["loss"])
    assert run_info["higher_is_better"] is False and run_info["rows"] == {"train": 12, "dev": 4}
    assert run_info["steps"] == {"planned": 4, "per_epoch": 3} and run_info["lengths"] is None
    plots = {path.stem for path in (tmp_path / "out/pictures").iterdir()}
    curves = {"loss", "loss_terms", "metrics", "perplexity", "learning_rate", "throughput"}
    assert plots == curves
    page = (tmp_path / "out/report.html").read_text()
    assert "mlm, training" in page and "nsp, validation" in page

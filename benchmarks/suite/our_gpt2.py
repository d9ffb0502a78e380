"""This project's GPT-2 as a contestant: training steps of rows without padding, and generation."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite import protocol
from bert_paddle.clm import args, loss, sampling
from bert_paddle.clm.dataset import TextDataset
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import device
from bert_paddle.models import gpt2, gpt2_weights
from bert_paddle.training.step import Trainer

Spec = dict[str, Any]


def build(spec: Spec) -> protocol.Block:
    device.set_up_device("cpu")
    loaded = gpt2_weights.load_gpt2_weights(Path(spec["model"]))
    model = gpt2.build_gpt2(loaded.config, loaded.tensors)
    return (_training if spec["job"] == "training" else _generation)(spec, model)


def _training(spec: Spec, model: Any) -> protocol.Block:
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, spec["vocab"], spec["tokens"], np.int32) for _ in range(spec["rows"])]
    batch = TextDataset(texts, [[i] for i in range(len(texts))], 0).batch(np.arange(len(texts)))
    flags = args.parse_args(
        f"--model_name_or_path {spec['model']} --train_file {spec['model']}/config.json "
        "--output_dir unused --learning_rate 1e-4 --seed 42".split()
    )
    trainer = Trainer(model, loss.objective(), flags, False, RunLog(active=False))
    number = 0

    def block(_: int) -> dict[str, Any]:
        nonlocal number
        start = time.perf_counter()
        for _ in range(spec["steps"]):
            number += 1
            model.train()
            result = trainer.step([batch], 1e-4, number, {})
        last = float(result.losses[loss.TERM])
        seconds = (time.perf_counter() - start) / spec["steps"]
        return {"seconds": seconds, "parts": spec["steps"], "loss": last}

    block(0)
    return block


def _generation(spec: Spec, model: Any) -> protocol.Block:
    prompt = list(range(100, 100 + spec["prompt"]))
    settings = sampling.SamplingSettings(spec["new_tokens"])
    warm_up = sampling.SamplingSettings(4)
    continue_text = sampling.generate if spec["cache"] else _without_cache

    def block(number: int) -> dict[str, Any]:
        start = time.perf_counter()
        tokens = list(continue_text(model, prompt, [np.random.default_rng(number)], settings, None))
        assert len(tokens) == spec["new_tokens"]
        return {"seconds": time.perf_counter() - start, "parts": 1}

    list(continue_text(model, prompt, [np.random.default_rng(0)], warm_up, None))
    return block


def _without_cache(
    model: Any, prompt: list[int], rngs: list, settings: sampling.SamplingSettings, eos_id: None
) -> Iterator[int]:
    """The same tokens, each from the whole text computed anew."""
    import paddle

    text = list(prompt)
    for _ in range(settings.max_new_tokens):
        with paddle.no_grad():
            hidden = gpt2.hidden_states(model, paddle.to_tensor(np.array([text])))
            logits = gpt2.logits(model, hidden[:, -1]).numpy()
        text.append(sampling.choose_token(logits[0], text, rngs[0], settings))
        yield text[-1]


if __name__ == "__main__":
    protocol.serve(build)

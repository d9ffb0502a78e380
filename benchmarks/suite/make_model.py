"""Write a model's folder from a specification (inputs.write_model): run by itself, since it needs
paddle, which the driver does without."""

import json
import sys
from pathlib import Path
from typing import Any

from bert_paddle.distributed import device
from bert_paddle.models import classifier, load_weights, model_state, tokenizer
from bert_paddle.pretrain import model as pretrain_model


def main(spec: dict[str, Any]) -> None:
    device.set_up_device("cpu")
    target, source = Path(spec["target"]), Path(spec["weights"])
    if spec["config"]:
        drawn = target if spec["kind"] == "pretraining" else target.with_name("drawn")
        _write_drawn(spec, source, drawn)
        source = drawn
    if spec["kind"] == "classifier":
        target.mkdir()
        saved = load_weights.load_weights(source)
        built = classifier.build_classifier(saved, spec["labels"], spec["seed"], need_head=False)
        about = classifier.classifier_config(spec["labels"], "")
        model_state.model_writer(built.model, about)(target)
        tokenizer.load_tokenizer(source).save(target)


def _write_drawn(spec: dict[str, Any], source: Path, target: Path) -> None:
    """A pre-training model with random weights of the specification's sizes, and the vocabulary of
    the model in `source`."""
    target.mkdir()
    saved = load_weights.load_weights(source)
    sizes = {name: value for name, value in saved.config.items() if name != "labels"}
    network, _ = pretrain_model.build_model(sizes | spec["config"], spec["seed"], None)
    model_state.model_writer(network, {})(target)
    tokenizer.load_tokenizer(source).save(target)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

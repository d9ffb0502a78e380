"""Write a model's folder from a specification (inputs.write_model): run by itself, since it needs
paddle, which the driver does without."""

import json
import sys
from pathlib import Path
from typing import Any

from bert_paddle import launch, model, tokenizer, weights
from bert_paddle.pretrain import build


def main(spec: dict[str, Any]) -> None:
    launch.settle("cpu")
    target, source = Path(spec["target"]), Path(spec["weights"])
    target.mkdir()
    if spec["kind"] == "classifier":
        saved = weights.load_checkpoint(source)
        built = model.build_classifier(saved, spec["labels"], spec["seed"], need_head=False)
        about = model.classifier_config(spec["labels"], "")
        model.snapshot(built.model, about)(target)
    else:
        saved = weights.load_checkpoint(source)
        sizes = {name: value for name, value in saved.config.items() if name != "labels"}
        network, _ = build.build(sizes | spec["config"], spec["seed"], None)
        model.snapshot(network, {})(target)
    tokenizer.load(source).save(target)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

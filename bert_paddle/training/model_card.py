"""The README.md of a saved model: what it was trained on, how well it does, how to load it.

A Hugging Face model card (YAML between two lines of dashes, then Markdown), made of what a run
knows of itself. Nothing in it depends on a clock or on where the run lies, so that a run that was
interrupted and gone on with leaves the same card as one that was not.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.common import hardware
from bert_paddle.common.args import CommonArgs
from bert_paddle.models import hub
from bert_paddle.training.train_state import TrainState

CARD_FILE = "README.md"
USE = "## How to use it"  # everything from here on is about the folder, not about the model
# What Markdown gives a meaning to within a line; the last two end what would become a link.
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&$]|:(?=//)|(?<=www)\.)")
# What Hugging Face's `evaluate` calls a metric, where all_results.json has another name.
_METRIC_IDS = {"pearson": "pearsonr", "f1_macro": "f1"}


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    task: its name; kind: classification, regression or pretraining; pairs: whether a row has two
    texts. base: the model it began with, as given, "" for none. labels: class names in the order of
    the logits. results: the values of an evaluation of these very weights by name, none where there
    was none. hub: of a hub's data set, {"type", "name", "config"}, when the results are comparable
    with others on it. rows: of each set. remarks: what has to be known of the data, a sentence
    each. settings: by the names they are shown under.
    """

    task: str
    kind: str
    step: int
    base: str = ""
    pairs: bool = False
    language: str | None = None
    labels: Sequence[str] = ()
    results: Mapping[str, float] = field(default_factory=dict)
    hub: Mapping[str, str] | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def settings(args: CommonArgs, state: TrainState) -> dict[str, Any]:
    """How a model was trained, by shown names. Of what may change when a run is gone on with (the
    folders, the processes), only what comes of it."""
    warmup = args.warmup_steps or round(args.warmup_ratio * state.total)
    return {
        "updates": f"{state.step} of {state.total} planned",
        "rows per update": state.rows_per_step,
        "optimizer": args.optimizer,
        "learning rate": args.learning_rate,
        "schedule": f"{args.lr_scheduler_type}, {warmup} updates of warm-up",
        "weight decay": args.weight_decay,
        "gradients clipped at": args.max_grad_norm or "never",
        "precision": f"{args.amp_dtype} ({args.amp_level})" if args.use_amp else "float32",
        "seed": args.seed,
    }


def escaped(text: str) -> str:
    """Text for Markdown that is shown as it stands, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the cells are escaped."""
    lines = [list(head), ["---"] * len(head)]
    lines += [[escaped(str(cell)) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_front(front: Mapping[str, Any], body: str) -> str:
    """A card of its metadata and its text."""
    import yaml

    lines = yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)
    return f"---\n{lines}---\n\n{body}"


def parts(text: str) -> tuple[dict[str, Any], str]:
    """The metadata and the text of a card; no metadata where there is none that can be read."""
    import yaml

    found = re.match(r"---\r?\n(.*?\n)---[ \t]*\r?\n(.*)", text, re.DOTALL)
    if not found:
        return {}, text
    try:
        front = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, found[2]
    return (front if isinstance(front, dict) else {}), found[2].lstrip("\r\n")


def text(facts: CardFacts) -> str:
    """The whole card."""
    sections = [
        f"# {escaped(facts.task)}, step {facts.step}\n",
        _summary(facts),
        _results(facts),
    ]
    if facts.labels:
        rows = list(enumerate(facts.labels))
        sections.append("## Classes\n\n" + table(("logit", "class"), rows))
    if facts.rows:
        rows_of = [(name, f"{count:,}") for name, count in facts.rows.items()]
        sections.append("## Data\n\n" + table(("set", "rows"), rows_of))
    sections.append("## Training\n\n" + table(("setting", "value"), list(facts.settings.items())))
    sections.append(_use(facts))
    return with_front(front_matter(facts), "\n".join(sections))


def card_writer(facts: CardFacts) -> Callable[[Path], None]:
    """A function that writes the card into the folder it is given."""
    content = text(facts)

    def write(folder: Path) -> None:
        (folder / CARD_FILE).write_text(content, encoding="utf-8")

    return write


def front_matter(facts: CardFacts) -> dict[str, Any]:
    """The metadata, as Hugging Face's hub takes it."""
    pretraining = facts.kind == "pretraining"
    front: dict[str, Any] = {}
    if facts.language:
        front["language"] = facts.language
    front["library_name"] = "paddlenlp"
    front["pipeline_tag"] = "fill-mask" if pretraining else "text-classification"
    front["tags"] = ["bert", "paddlepaddle", "bert_paddle", facts.kind]
    if _is_name(facts.base):
        front["base_model"] = facts.base
    if facts.hub:
        front["datasets"] = [facts.hub["type"]]
    metrics = [name for name in facts.results if name != "loss"]
    if metrics and not pretraining:
        front["metrics"] = list(dict.fromkeys(_METRIC_IDS.get(name, name) for name in metrics))
    if facts.hub and metrics:
        front["model-index"] = [_index(facts, metrics)]
    return front


def _index(facts: CardFacts, metrics: Sequence[str]) -> dict[str, Any]:
    """The results as the hub lists them."""
    assert facts.hub
    values = [
        {"type": _METRIC_IDS.get(name, name), "name": name, "value": round(facts.results[name], 6)}
        for name in metrics
    ]
    result = {
        "task": {"type": "text-classification"},
        "dataset": {**facts.hub, "split": facts.hub.get("split", "validation")},
        "metrics": values,
    }
    return {"name": f"{facts.task}, step {facts.step}", "results": [result]}


def _is_name(base: str) -> bool:
    """Whether a model was given by a name that others know, not by a folder."""
    plain = re.fullmatch(r"[A-Za-z0-9][\w.-]*", base) is not None
    return base in hub.PUBLISHED or plain and not Path(base).is_dir()


def _summary(facts: CardFacts) -> str:
    base = escaped(facts.base if _is_name(facts.base) else Path(facts.base).name)
    task = escaped(facts.task)
    if facts.kind == "pretraining":
        begun = f" It began with the weights of {base}." if facts.base else ""
        said = "A BERT pre-trained on masked words and next sentences." + begun
    else:
        texts = "pairs of texts" if facts.pairs else "single texts"
        head = "a score" if facts.kind == "regression" else f"{len(facts.labels)} classes"
        said = f"A BERT fine-tuned on {task} from {base}: {texts}, {head}."
    return "\n\n".join([said, *(f"**{escaped(remark)}**" for remark in facts.remarks)]) + "\n"


def _results(facts: CardFacts) -> str:
    if not facts.results:
        return "## Results\n\nThese weights were not evaluated when they were saved.\n"
    rows = [(name, f"{value:.6f}") for name, value in facts.results.items()]
    return "## Results\n\n" + table(("evaluation", "value"), rows)


def _use(facts: CardFacts) -> str:
    """How to load the folder with this package, PaddleNLP and, exported, transformers."""
    folder = f"model_{facts.step}"
    if facts.kind == "pretraining":
        kind, auto = "BertForPretraining", "AutoModelForPreTraining"
        ours = f"run_glue.py --model_name_or_path {folder} --task_name SST-2 --output_dir out"
    else:
        kind, auto = "BertForSequenceClassification", "AutoModelForSequenceClassification"
        ours = f'bert-paddle predict {folder} "A text."'
        ours += ' --pair "Another text."' if facts.pairs else ""
    versions = ", ".join(f"{name} {version}" for name, version in hardware.versions().items())
    return f"""{USE}

With bert_paddle, where the folder is called {folder}:

```shell
{ours}
```

With PaddleNLP:

```python
from paddlenlp.transformers import {kind}, BertTokenizer

model = {kind}.from_pretrained("{folder}")
tokenizer = BertTokenizer.from_pretrained("{folder}")
```

With transformers, after `bert-paddle export {folder} --format hf -o exported`:

```python
from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained("exported")
tokenizer = AutoTokenizer.from_pretrained("exported")
```

Saved with {escaped(versions)}. When the run took place is in its run.json.
"""

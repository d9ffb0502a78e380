"""The README.md of a saved model: its training data, its results, how to load it.

A Hugging Face model card: YAML front matter, then Markdown. Nothing in it depends on time or on the
run's path, so that an interrupted and resumed run writes the same card as an uninterrupted one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.common import hardware, limits, markdown
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.flag_fields import declared_flags
from bert_paddle.common.intervals import Interval
from bert_paddle.models import hub
from bert_paddle.training import card_kinds, optim
from bert_paddle.training.train_state import TrainState

CARD_FILE = "README.md"
# The section from here on is about loading this folder; an export replaces it.
USAGE_HEADING = "## How to use it"
# Metric names in all_results.json that differ in Hugging Face's `evaluate`, and the names there.
_METRIC_IDS = {
    "pearson": "pearsonr",
    "f1_macro": "f1",
    "f1_micro": "f1",
    "exact_match": "accuracy",  # of several labels per row
}
MULTI_LABEL = "multi-label-classification"


@dataclass(frozen=True)
class CardFacts:
    """The content of a card.

    task: its name. kind: classification, MULTI_LABEL, regression, pretraining or generation.
    pairs: whether a row has two texts. next_sentences: whether a pre-training predicted them. base:
    name or path of the initial model, "" for none. labels: class names in the order of the logits.
    results: the metrics, by name, of the weights that the card describes; empty if they were not
    evaluated. intervals: of those metrics that have one, over rows of the dev set.
    thresholds, label_f1: with MULTI_LABEL, of each label, and its F1 by name.
    hub_dataset: {"type", "name", "config"} of the dataset on Hugging Face's hub; None if the
    results are not comparable with others on that dataset. rows: number of rows by dataset split.
    remarks: sentences about the data. settings: by display name.
    """

    task: str
    kind: str
    step: int
    base: str = ""
    pairs: bool = False
    next_sentences: bool = True
    language: str | None = None
    labels: Sequence[str] = ()
    results: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    hub_dataset: Mapping[str, str] | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Sequence[float] = ()
    label_f1: Mapping[str, float] = field(default_factory=dict)


def training_settings(args: CommonArgs, state: TrainState) -> dict[str, Any]:
    """The training settings by display name, without those that may change when a run is resumed
    (paths, number of processes). Flags with a card_name are listed if not at their default."""
    warmup = optim.warmup_steps(args, state.schedule_total)
    others = {
        field.metadata["card_name"]: value
        for field in declared_flags(type(args))
        if field.metadata["card_name"] and (value := getattr(args, field.name)) != field.default
    }
    return {
        "steps": f"{state.step} of {state.total} planned",
        "rows per step": state.rows_per_step,
        "optimizer": args.optimizer,
        "learning rate": args.learning_rate,
        "schedule": f"{args.lr_scheduler_type}, {warmup} warm-up steps",
        "weight decay": args.weight_decay,
        "max gradient norm": args.max_grad_norm or "no clipping",
        "precision": f"{args.amp_dtype} ({args.amp_level})" if args.use_amp else "float32",
        "seed": args.seed,
        **others,
    }


def join_front_matter(front: Mapping[str, Any], body: str) -> str:
    """A card from its metadata and its text."""
    import yaml

    lines = yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)
    return f"---\n{lines}---\n\n{body}"


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The metadata and the text of a card; {} for missing or malformed metadata.

    Aliases count as malformed: merge keys expand them, so that a few lines become endless.
    """
    import yaml

    class PlainLoader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias")
            return super().compose_node(parent, index)

    match = re.match(r"---\r?\n(.*?\n)---[ \t]*\r?\n(.*)", text, re.DOTALL)
    if not match:
        return {}, text
    if len(match[1]) > limits.limit("YAML_BYTES"):
        return {}, match[2]
    try:
        front = yaml.load(match[1], PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, match[2]
    return (front if isinstance(front, dict) else {}), match[2].lstrip("\r\n")


def render_card(facts: CardFacts) -> str:
    """The complete card."""
    sections = [
        f"# {markdown.escape(facts.task)}, step {facts.step}\n",
        _summary(facts),
        _results(facts),
    ]
    if facts.thresholds:
        sections.append(_labels(facts))
    elif facts.labels:
        rows = list(enumerate(facts.labels))
        sections.append("## Classes\n\n" + markdown.table(("logit", "class"), rows))
    if facts.rows:
        counts = [(name, f"{count:,}") for name, count in facts.rows.items()]
        sections.append("## Data\n\n" + markdown.table(("set", "rows"), counts))
    sections.append(
        "## Training\n\n" + markdown.table(("setting", "value"), list(facts.settings.items()))
    )
    sections.append(_usage(facts))
    return join_front_matter(front_matter(facts), "\n".join(sections))


def _labels(facts: CardFacts) -> str:
    """The labels of which any number is true of a text, with their thresholds."""
    rows = [
        (i, name, threshold, f"{facts.label_f1[name]:.6f}" if facts.label_f1 else "")
        for i, (name, threshold) in enumerate(zip(facts.labels, facts.thresholds, strict=True))
    ]
    table = markdown.table(("logit", "label", "threshold", "F1"), rows)
    text = "A label is predicted where the sigmoid of its logit reaches its threshold."
    return f"## Labels\n\n{text}\n\n{table}"


def card_writer(facts: CardFacts) -> Callable[[Path], None]:
    """A function that writes the card into a folder."""
    content = render_card(facts)

    def write(folder: Path) -> None:
        (folder / CARD_FILE).write_text(content, encoding="utf-8")

    return write


def front_matter(facts: CardFacts) -> dict[str, Any]:
    """The metadata, in the format of Hugging Face's hub."""
    kind = card_kinds.find_kind(facts.kind, facts.next_sentences)
    front: dict[str, Any] = {}
    if facts.language:
        front["language"] = facts.language
    front["library_name"] = "paddlenlp"
    front["pipeline_tag"] = kind.pipeline
    front["tags"] = [kind.architecture, "paddlepaddle", "bert_paddle", facts.kind]
    if _is_model_name(facts.base):
        front["base_model"] = facts.base
    if facts.hub_dataset:
        front["datasets"] = [facts.hub_dataset["type"]]
    metrics = [name for name in facts.results if name != "loss"]
    if metrics and kind.pipeline == "text-classification":
        front["metrics"] = list(dict.fromkeys(_METRIC_IDS.get(name, name) for name in metrics))
    if facts.hub_dataset and metrics:
        front["model-index"] = [_model_index(facts, metrics)]
    return front


def _model_index(facts: CardFacts, metrics: Sequence[str]) -> dict[str, Any]:
    """The `model-index` entry with the results."""
    assert facts.hub_dataset
    values = [
        {"type": _METRIC_IDS.get(name, name), "name": name, "value": round(facts.results[name], 6)}
        for name in metrics
    ]
    result = {
        "task": {"type": "text-classification"},
        "dataset": {**facts.hub_dataset, "split": facts.hub_dataset.get("split", "validation")},
        "metrics": values,
    }
    return {"name": f"{facts.task}, step {facts.step}", "results": [result]}


def _is_model_name(base: str) -> bool:
    """Whether `base` is the name of a public model, not a local folder."""
    is_valid_name = re.fullmatch(r"[A-Za-z0-9][\w.-]*", base) is not None
    return base in hub.HUB_MODELS or is_valid_name and not Path(base).is_dir()


def _summary(facts: CardFacts) -> str:
    base = markdown.escape(facts.base if _is_model_name(facts.base) else Path(facts.base).name)
    task = markdown.escape(facts.task)
    if facts.kind == "generation":
        start = f"the weights of {base}" if facts.base else "random weights"
        summary = f"A GPT-2 model trained on texts, from {start}: it continues a text."
    elif facts.kind == "pretraining":
        nsp = "and" if facts.next_sentences else "without"
        summary = (
            f"A BERT model pre-trained with masked language modeling {nsp} next-sentence "
            "prediction."
        )
        summary += f" Training started from the weights of {base}." if facts.base else ""
    else:
        texts = "pairs of texts" if facts.pairs else "single texts"
        output = "a score" if facts.kind == "regression" else f"{len(facts.labels)} classes"
        if facts.kind == MULTI_LABEL:
            output = f"any number of {len(facts.labels)} labels"
        summary = f"A BERT model fine-tuned on {task} from {base}: {texts}, {output}."
    remarks = [f"**{markdown.escape(remark)}**" for remark in facts.remarks]
    return "\n\n".join([summary, *remarks]) + "\n"


def _results(facts: CardFacts) -> str:
    if not facts.results:
        return "## Results\n\nThese weights were not evaluated when they were saved.\n"
    if not facts.intervals:
        rows = [(name, f"{value:.6f}") for name, value in facts.results.items()]
        return "## Results\n\n" + markdown.table(("evaluation", "value"), rows)
    cells = [
        (name, f"{value:.6f}", _interval_text(facts.intervals.get(name)))
        for name, value in facts.results.items()
    ]
    return (
        "## Results\n\n"
        + markdown.table(("evaluation", "value", "95 % interval"), cells)
        + "\nThe intervals are by bootstrap over the rows of the dev set: what other rows of the "
        "same kind would change, not what another seed would.\n"
    )


def _interval_text(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _usage(facts: CardFacts) -> str:
    kind, versions = card_kinds.find_kind(facts.kind, facts.next_sentences), hardware.versions()
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    how = kind.how_to_load(f"model_{facts.step}", facts.pairs)
    return f"""{USAGE_HEADING}

{how}
Saved with {markdown.escape(listed)}. The date of the run is in its run.json.
"""

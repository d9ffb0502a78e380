"""The settings of a model folder's tokenizer, from every file where libraries keep them.

A tokenizer that is not BERT's WordPiece, or with a setting that would give other word pieces than
ours, is refused by name: its text would silently become other tokens, mostly [UNK].
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import model_config
from bert_paddle.models.vocabulary import SPECIAL_TOKENS, TOKENIZER_JSON_FILE, VOCAB_FILE

TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
MODEL_CONFIG_FILE = "config.json"
SPECIAL_TOKEN_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
# Classes with BERT's own algorithm; the last two are any tokenizer.json, which is checked itself.
_BERT_CLASSES = (
    "BertTokenizer",
    "BertWordPieceTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "PreTrainedTokenizer",
    "TokenizersBackend",
)
# Vocabularies of other tokenizers.
_OTHER_VOCABULARIES = (
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
# Settings in tokenizer_config.json that change the word pieces, and the values that are BERT's.
_FIXED_SETTINGS: dict[str, tuple[Any, ...]] = {
    "do_basic_tokenize": (None, True),
    "never_split": (None, [], list(SPECIAL_TOKENS)),
    "split_special_tokens": (None, False),
    "clean_text": (None, True),
    "wordpieces_prefix": (None, "##"),
    "word_tokenizer_type": (None, "basic"),
    "subword_tokenizer_type": (None, "wordpiece"),
    "do_word_tokenize": (None, True),
    "do_subword_tokenize": (None, True),
}
# The same for tokenizer.json, by section.
_FIXED_JSON_SETTINGS: dict[str, dict[str, tuple[Any, ...]]] = {
    "model": {
        "type": (None, "WordPiece"),
        "unk_token": (None, "[UNK]"),
        "continuing_subword_prefix": (None, "##"),
        "max_input_chars_per_word": (None, 100),
    },
    "normalizer": {"type": (None, "BertNormalizer"), "clean_text": (None, True)},
    "pre_tokenizer": {"type": (None, "BertPreTokenizer")},
    "post_processor": {"type": (None, "BertProcessing", "TemplateProcessing")},
}
# The layout that a TemplateProcessing must have: the tokens and texts, with their segments.
_TEMPLATES = {
    "single": [("[CLS]", 0), ("A", 0), ("[SEP]", 0)],
    "pair": [("[CLS]", 0), ("A", 0), ("[SEP]", 0), ("B", 1), ("[SEP]", 1)],
}


@dataclass(frozen=True)
class TokenizerFiles:
    """The contents of a folder's tokenizer files, {} for those that are missing."""

    folder: Path
    config: Mapping[str, Any]
    tokenizer_json: Mapping[str, Any]
    special_tokens: Mapping[str, Any]
    added_tokens: Mapping[str, Any]

    def declared(self, name: str, normalizer_name: str) -> list[tuple[bool, str]]:
        """The values of a switch with the files that set it, the one to follow first: `name` in
        tokenizer_config.json, `normalizer_name` in tokenizer.json. Raises WeightsError for a value
        that is not a switch."""
        found = []
        for content, key, file in (
            (self.config, name, TOKENIZER_CONFIG_FILE),
            (self.tokenizer_json.get("normalizer"), normalizer_name, TOKENIZER_JSON_FILE),
        ):
            value = content.get(key) if isinstance(content, Mapping) else None
            if not isinstance(value, bool | None):
                raise WeightsError(
                    f"{self.folder}: {key} is {str(value)[:40]!r} in {file}, but must be true or "
                    "false"
                )
            if value is not None:
                found.append((value, f"{key} in {file}"))
            elif isinstance(content, Mapping) and key in content and key != "do_lower_case":
                break  # null: a setting of its own, which tokenizer.json does not override
        return found

    def token_with_another_id(self, vocab: Sequence[str]) -> str | None:
        """A token that is not the same in `vocab` and in tokenizer.json's model; None if there is
        none, or no tokenizer.json."""
        model = self.tokenizer_json.get("model")
        ids = model.get("vocab") if isinstance(model, Mapping) else None
        if not isinstance(ids, Mapping):
            return None
        moved = (token for i, token in enumerate(vocab) if ids.get(token, i) != i)
        return next(moved, None) or min(ids.keys() - set(vocab), default=None)


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read the files. Raises WeightsError for one that is malformed, and if the tokenizer is not
    BERT's WordPiece."""
    files = TokenizerFiles(
        folder,
        config=_read_json(folder / TOKENIZER_CONFIG_FILE),
        tokenizer_json=_read_json(folder / TOKENIZER_JSON_FILE),
        special_tokens=_read_json(folder / SPECIAL_TOKENS_FILE),
        added_tokens=_read_json(folder / ADDED_TOKENS_FILE),
    )
    _check_class(files)
    if problem := next(_other_settings(files), None):
        raise WeightsError(
            f"{folder}: {problem}, which is not BERT's WordPiece tokenizer as it is supported here"
        )
    return files


def has_settings(folder: Path) -> bool:
    """Whether a folder has a file with a tokenizer's settings."""
    return any((folder / name).is_file() for name in (TOKENIZER_CONFIG_FILE, TOKENIZER_JSON_FILE))


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder has a file from which a vocabulary is read, or another tokenizer's, which
    `load_tokenizer` refuses by name."""
    names = (VOCAB_FILE, TOKENIZER_JSON_FILE, *_OTHER_VOCABULARIES)
    return any((folder / name).is_file() for name in names)


def _check_class(files: TokenizerFiles) -> None:
    model_config = _read_model_config(files.folder)
    source = TOKENIZER_CONFIG_FILE
    # init_class: what earlier versions of PaddleNLP wrote.
    name = files.config.get("tokenizer_class") or files.config.get("init_class")
    if name is None:
        source, name = MODEL_CONFIG_FILE, model_config.get("tokenizer_class")
    auto_map = files.config.get("auto_map") or {}
    if isinstance(auto_map, Mapping) and auto_map.get("AutoTokenizer"):
        source, name = TOKENIZER_CONFIG_FILE, f"code of its own ({str(auto_map)[:80]})"
    if name is not None and str(name).removesuffix("Fast") not in _BERT_CLASSES:
        raise WeightsError(
            f"{files.folder}: its tokenizer is {str(name)[:100]} ({source}), not BERT's WordPiece: "
            "texts would become other word pieces than those that the model was trained with; give "
            "a model with a BertTokenizer"
        )
    others = [name for name in _OTHER_VOCABULARIES if (files.folder / name).is_file()]
    if name is None and others:
        raise WeightsError(
            f"{files.folder} has {others[0]}, the vocabulary of a tokenizer that is not BERT's "
            "WordPiece: give a model with a BertTokenizer (or, if its vocab.txt is the right one, "
            f'write {{"tokenizer_class": "BertTokenizer"}} into {TOKENIZER_CONFIG_FILE})'
        )


def _other_settings(files: TokenizerFiles) -> Iterator[str]:
    """The settings that our WordPiece does not have, one message each."""
    for name, accepted in _FIXED_SETTINGS.items():
        if files.config.get(name) not in accepted:
            yield f"{name} is {_shorten(files.config[name])} in {TOKENIZER_CONFIG_FILE}"
    for place, content in (
        (TOKENIZER_CONFIG_FILE, files.config),
        (SPECIAL_TOKENS_FILE, files.special_tokens),
    ):
        for name, token in zip(SPECIAL_TOKEN_NAMES, SPECIAL_TOKENS, strict=True):
            value = content.get(name)
            value = value.get("content") if isinstance(value, Mapping) else value
            if value not in (None, token):
                yield f"{name} is {_shorten(value)} in {place}, not {token}"
    for section, settings in _FIXED_JSON_SETTINGS.items():
        part = files.tokenizer_json.get(section)
        if part is None or section == "model" and not isinstance(part, Mapping):
            continue  # a model without settings has no vocabulary either, which is told elsewhere
        if not isinstance(part, Mapping):
            yield f"{section} is {_shorten(part)} in {TOKENIZER_JSON_FILE}"
            continue
        for name, accepted in settings.items():
            if part.get(name) not in accepted:
                where = f"of the {section} in {TOKENIZER_JSON_FILE}"
                yield f"the {name} {where} is {_shorten(part[name])}"
        if part.get("type") == "TemplateProcessing":
            yield from _other_templates(part)


def _other_templates(processor: Mapping[str, Any]) -> Iterator[str]:
    for name, expected in _TEMPLATES.items():
        template = processor.get(name)
        try:
            found = [
                (item["id"], item["type_id"]) for entry in template or () for item in entry.values()
            ]
        except (AttributeError, TypeError, KeyError):
            found = [("?", 0)]
        if template is not None and found != expected:
            layout = " ".join(str(token) for token, _ in found)
            yield (
                f"the layout of a {name} in {TOKENIZER_JSON_FILE} is {_shorten(layout)}, not "
                + " ".join(token for token, _ in expected)
            )


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _read_model_config(folder: Path) -> dict[str, Any]:
    """The model's config.json, which `model_config` checks; {} if it cannot be read."""
    try:
        return _read_json(folder / MODEL_CONFIG_FILE)
    except WeightsError:
        return {}


def _read_json(path: Path) -> dict[str, Any]:
    return model_config.read_json_object(path) if path.is_file() else {}

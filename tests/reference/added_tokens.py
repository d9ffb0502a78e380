"""Write added_tokens.json anew: ids of texts for folders that declare added tokens, from
transformers.

    .venv-peers/bin/python tests/reference/added_tokens.py

"fast" are the ids of BertTokenizer (the Rust library), "slow" those of BertTokenizerLegacy (Python)
for the texts where they differ, by the text's index.
"""

import json
import tempfile
from pathlib import Path

import transformers
from transformers import BertTokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

VOCAB = (
    "[PAD] [unused0] [NAME] <url> [UNK] [CLS] [SEP] [MASK] a b c d ##a ##b ##c ##d the cat sat "
    "covid new york < > [ ] name url # 中 文 . é ##é"
).split()
NEW = len(VOCAB)
TEXTS = [
    "the [NAME] cat",
    "the<url>cat sat.",
    "[NAME][NAME]  <url>",
    "<URL> the [name]",
    "the NewTok cat newtok NEWTOK",
    "abNewTokca anewtok newtoka newtok.",
    "new york New York newyork new  york",
    "covid covids acovid COVID",
    "[MASK] the [SEP] [mask]",
    "中newtok文 中文 中 文",
    "[unused0] cat éé newtok\u0301",
    "",
    " <url> ",
]


def flags(content: str, **changed: bool) -> dict:
    usual = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
    return {"content": content, **usual, **changed}


OWN = ["[NAME]", "<url>"]
FOLDERS: dict[str, dict[str, dict]] = {
    "nothing declared": {},
    "own, tokenizer_config": {"tokenizer_config": {"additional_special_tokens": OWN}},
    "own, special_tokens_map": {"special_tokens_map": {"additional_special_tokens": OWN}},
    "own, extra_special_tokens": {"tokenizer_config": {"extra_special_tokens": OWN}},
    "own and new": {"tokenizer_config": {"additional_special_tokens": [*OWN, "[NEW]"]}},
    "added_tokens.json": {"added_tokens": {"NewTok": NEW, "acovid": NEW + 1}},
    "added and special": {
        "added_tokens": {"NewTok": NEW},
        "special_tokens_map": {"additional_special_tokens": ["NewTok", "<url>"]},
    },
    "two words": {"added_tokens": {"new york": NEW}},
    "decoder": {
        "tokenizer_config": {
            "added_tokens_decoder": {
                "2": flags("[NAME]", special=True),
                str(NEW): flags("NewTok", normalized=True),
            }
        }
    },
    "decoder, not normalized": {
        "tokenizer_config": {"added_tokens_decoder": {str(NEW): flags("NewTok")}}
    },
    "decoder, single word": {
        "tokenizer_config": {
            "added_tokens_decoder": {str(NEW): flags("newtok", single_word=True, normalized=True)}
        }
    },
    "decoder, blanks": {
        "tokenizer_config": {
            "added_tokens_decoder": {
                "3": flags("<url>", lstrip=True, rstrip=True, special=True),
                str(NEW): flags("newtok", lstrip=True),
            }
        }
    },
    "a word of the vocabulary": {
        "tokenizer_config": {
            "added_tokens_decoder": {str(VOCAB.index("covid")): flags("covid", normalized=True)}
        }
    },
    "Chinese": {"added_tokens": {"中文": NEW}},
    "keeps case": {
        "tokenizer_config": {"do_lower_case": False, "additional_special_tokens": OWN},
        "added_tokens": {"NewTok": NEW},
    },
    "keeps accents": {
        "tokenizer_config": {"strip_accents": False, "tokenize_chinese_chars": False},
        "added_tokens": {"newtok": NEW},
    },
}


def write_folder(folder: Path, files: dict[str, dict]) -> None:
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    files = {"tokenizer_config": {}} | files
    files["tokenizer_config"] = {"do_lower_case": True} | files["tokenizer_config"]
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    results = {}
    for name, files in FOLDERS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_folder(Path(folder), files)
            fast = BertTokenizer.from_pretrained(folder)
            slow = BertTokenizerLegacy.from_pretrained(folder)
            ids = [fast(text, add_special_tokens=False).input_ids for text in TEXTS]
            slow_ids = [slow(text, add_special_tokens=False).input_ids for text in TEXTS]
        differing = {i: s for i, (f, s) in enumerate(zip(ids, slow_ids, strict=True)) if f != s}
        results[name] = {"files": files, "fast": ids, "slow": differing}
    content = {"transformers": transformers.__version__, "vocab": VOCAB, "texts": TEXTS}
    text = json.dumps(content | {"folders": results}, ensure_ascii=False, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write the reference values of this folder anew, from transformers.

Run it in the peer environment (benchmarks/peers/setup.sh makes it), from the repository root:

    export GLUE_DATA_DIR=...  BERT_PADDLE_HOME=...
    .venv-peers/bin/python tests/reference/recompute.py [tiny] [pretraining] [minilm] [tokenizer]

Without arguments all four are written:

tiny       tiny_hf/ and tiny_hf_legacy.bin: a small random classifier in the checkpoint formats
           that transformers and torch write, and its outputs (needs neither variable)
pretraining  tiny_hf_pretraining/: the same with the heads of pre-training (needs neither)
minilm     minilm_encoder.json: outputs of the real weights in models/all-minilm-l6-v2
tokenizer  tokenizer.json: ids of difficult strings, and hashes of the ids of whole GLUE files

The tests only read these files; they need neither torch nor transformers.
"""

import hashlib
import json
import os
import sys
import unicodedata
from pathlib import Path

import tokenizers
import torch
import transformers
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
)
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

HERE = Path(__file__).resolve().parent

TINY_WORDS = (
    "the a of is was not and in on old new big red cat dog bird house river stone tree walk run "
    "sleep sing under over"
).split()
TINY_PIECES = "s ed ing er ly ness un able".split()
TINY_VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *".,!?'-",
    *"0123456789",
    *"abcdefghijklmnopqrstuvwxyz",
    *TINY_WORDS,
    *("##" + letter for letter in "abcdefghijklmnopqrstuvwxyz"),
    *("##" + piece for piece in TINY_PIECES if len(piece) > 1),
]
# "a" is a letter and a word; every entry needs an id of its own.
TINY_VOCAB = list(dict.fromkeys(TINY_VOCAB))
TINY_ROWS = [
    ("the old dog walks.", "a dog is walking!"),
    ("birds sing", "the bird is not singing"),
    ("red stone", "a tree?"),
]

MINILM_ROWS = [
    ("The ferry left before the fog had lifted.", None),
    ("Nobody in the village repairs clocks any more.", "The clockmaker's shop closed in 1987."),
    ("Is it raining?", "Yes."),
    (
        "Na\u00efve readers of the r\u00e9sum\u00e9 asked why 3.5% of the co-operative's "
        "bookkeeping was missing, unexplained or mis-typed!",
        None,
    ),
]

# file: text columns; CoLA's train and dev files have no header line
CORPORA = {
    "SST-2/train": ["sentence"],
    "SST-2/dev": ["sentence"],
    "SST-2/test": ["sentence"],
    "CoLA/train": [3],
    "CoLA/dev": [3],
    "CoLA/test": ["sentence"],
    "QNLI/dev": ["question", "sentence"],
}

# Written with escapes: most of these characters cannot be seen, or look like others.
CASES = [
    "",
    " ",
    " \t\n\r  ",
    "Hello, World!",
    "don't can't it's -- 'quoted' \"text\"",
    "unaffable embeddings",
    "trailing space ",
    " leading and   inner   spaces",
    "tab\tnewline\nreturn\rend",
    "vertical\x0btab form\x0cfeed",
    "separators\x1cfile\x1dgroup\x1erecord\x1funit",
    "next\x85line",
    "line\u2028separator paragraph\u2029separator",
    "bell\x07 backspace\x08 escape\x1b delete\x7f",
    "nul\x00inside",
    "replacement\ufffdcharacter",
    "\ufeffbyte order mark at the start",
    "byte order\ufeffmark inside",
    "no-break\u00a0space thin\u2009space ideographic\u3000space narrow\u202fspace",
    "zero\u200bwidth space, zero\u200cwidth non\u200djoiner, word\u2060joiner",
    "soft\u00adhyphen",
    "left\u200eto right\u200fmarks \u202ebidi\u202c",
    "private\ue000use",
    "unassigned\u0378character and \U000e0080 too",
    "noncharacter\uffff and \U0001fffe",
    "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m composed",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m decomposed",
    "stacked e\u0302\u0301\u0323 marks \u1ec7",
    "\u0301starts with a combining accent",
    "enclosing a\u20dd mark and spacing \u093e mark",
    "Stra\u00dfe STRASSE \u1e9e Gro\u00df",
    "\u0130stanbul D\u0130YARBAKIR \u0131s\u0131 I\u011fd\u0131r",
    "\u039f\u0394\u039f\u03a3 \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u03a3",
    "\u00c6sir \u0152uvre \u00d8resund \u0141\u00f3d\u017a \u00deorn \u0110or\u0111e",
    "\ufb01ne \ufb02ow o\ufb00er \ufb03 \ufb06",
    "\u2126 ohm \u212a kelvin \u212b angstrom \u00b5 micro",
    "\uff28\uff45\uff4c\uff4c\uff4f \uff11\uff12\uff13 fullwidth\uff01",
    "superscript x\u00b2 y\u2083 \u00bd \u2167 \u2460",
    "\u4e2d\u6587\u53e5\u5b50 mixed\u4e2dtext",
    "\u6f22\u5b57\u3001\u304b\u306a\u3002",
    "\u3053\u3093\u306b\u3061\u306f \u30ab\u30bf\u30ab\u30ca \u30d7\u30ed\u30b0\u30e9\u30e0",
    "\u30cf\u309a decomposed kana \uff8a\uff9f halfwidth",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8 jamo",
    "\U00020000 \U0002a6d6 \U0002ceb0 \U00030000 extension ideographs",
    "\uf900 \ufa0e \U0002f800 compatibility ideographs",
    "\u9fff \u4db5 \u4dc0 \u3400 at the edges of the blocks",
    "emoji \U0001f600 inside\U0001f600word",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 and heart \u2764\ufe0f",
    "flag \U0001f1eb\U0001f1ee keycap 1\ufe0f\u20e3 skin \U0001f44d\U0001f3fd",
    "math \U0001d400\U0001d41b\U0001d7d8 gothic \U00010330",
    "Deseret \U00010400\U00010428 \U00010412",
    "\u0645\u0631\u062d\u0628\u0627 \u0627\u0644\u0652\u0639\u064e\u0631\u064e\u0628\u0650\u064a",
    "\u0633\u0644\u0627\u0645\u060c \u0686\u0637\u0648\u0631\u061f \u06f1\u06f2\u06f3",
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u05e9\u05dc\u05d5\u05dd",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a \u0e19\u0e49\u0e33",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0939\u093f\u0928\u094d\u0926\u0940\u0964",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u0439\u043e\u0433 \u0401\u043b\u043a\u0430",
    "Ti\u1ebfng Vi\u1ec7t \u0110\u1eb7ng",
    "[SEP]",
    "a [MASK] token and [CLS]glued[SEP]ones [PAD] [UNK]",
    "[sep] [Mask] [ SEP ] [SEP",
    "[unused1] [unused99] ##ing ## #hash",
    "a" * 100,
    "a" * 101,
    "x" + "e\u0301" * 99,
    "x" + "e\u0301" * 100,
    "\u00e9" * 101,
    "before " + "z" * 150 + " after",
    "state-of-the-art-and-then-some-more-hyphenation-without-any-end",
    "a--b---c\u2010d\u2011e\u2013f\u2014g\u2212h",
    "\u201ccurly\u201d \u2018single\u2019 \u00abguillemets\u00bb \u2026 \u00a1\u00bf",
    "$5.00 + 3^2 = `code` <tag> ~tilde |pipe| \\back_slash",
    "currency \u20ac10 \u00a35 \u00a5 \u20b9 sign \u00a9 \u00ae \u2122 \u00b0 \u00a7 \u00b6",
    "https://example.org/a_b?c=d&e=%20#f user@example.org",
    "1,234.56 3rd 10:30 A.M. U.S.A.",
    "\u01c4 \u01c5 \u01c6 \u0149 \u1e96 titlecase and expanding letters",
    "\u0345 \u1fb3 \u1f88 Greek iota subscript",
    "\u180e \u2800 \u3164 blank without being a space",
]


def numbers(tensor):
    """Nested lists with 9 significant digits, which name a float32 without loss."""
    if tensor.dim() == 0:
        return float(f"{tensor.item():.9g}")
    return [numbers(part) for part in tensor]


def write_json(path, value):
    # Only ASCII, one top-level entry a line: invisible characters show and a change can be read.
    lines = [
        f"{json.dumps(key)}: "
        + (
            "[\n" + ",\n".join(json.dumps(x, separators=(",", ":")) for x in entry) + "\n]"
            if isinstance(entry, list)
            else json.dumps(entry)
        )
        for key, entry in value.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")


def made_by():
    return {
        "script": "tests/reference/recompute.py",
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "torch": torch.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "unicodedata": unicodedata.unidata_version,
    }


def encode(vocab, rows):
    """Padded inputs of texts (text, None) and pairs (text, text) in one batch."""
    # Not BertTokenizerLegacy: it returns no token_type_ids, and the model then takes zeros.
    tokenizer = BertTokenizer(str(vocab))
    encoded = [tokenizer(a, b) if b is not None else tokenizer(a) for a, b in rows]
    keys = ("input_ids", "token_type_ids", "attention_mask")
    return tokenizer.pad({key: [e[key] for e in encoded] for key in keys}, return_tensors="pt")


def model_folder():
    return Path(os.environ["BERT_PADDLE_HOME"], "models", "all-minilm-l6-v2")


def tiny_config(**more):
    return BertConfig(
        vocab_size=len(TINY_VOCAB),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        attn_implementation="eager",
        **more,
    )


def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # Every parameter is drawn, also the biases and layer norms that a new model has at 0
        # and 1: with those, a loader could mix them up and still pass.
        for name, parameter in sorted(model.named_parameters()):
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.normal_(centre, 0.2, generator=generator)
            parameter.copy_(parameter.half())  # exact in 16 bits too, for the legacy file


def tiny():
    folder = HERE / "tiny_hf"
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(TINY_VOCAB) + "\n", encoding="utf-8")
    names = ["entailment", "neutral", "contradiction"]
    config = tiny_config(
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)}
    )
    model = BertForSequenceClassification(config).eval()
    draw(model, 20)
    model.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    # The same numbers in torch's format before 1.6, as float16, which halves the file.
    torch.save(
        {name: tensor.half() for name, tensor in model.state_dict().items()},
        HERE / "tiny_hf_legacy.bin",
        _use_new_zipfile_serialization=False,
    )

    inputs = encode(folder / "vocab.txt", TINY_ROWS)
    with torch.no_grad():
        hidden = model.bert(**inputs)
        logits = model(**inputs).logits
    write_json(
        folder / "expected.json",
        {
            "made_by": made_by(),
            "texts": TINY_ROWS,
            **{key: inputs[key].tolist() for key in inputs},
            "last_hidden_state": numbers(hidden.last_hidden_state),
            "pooler_output": numbers(hidden.pooler_output),
            "logits": numbers(logits),
        },
    )


def pretraining():
    folder = HERE / "tiny_hf_pretraining"
    folder.mkdir(exist_ok=True)
    model = BertForPreTraining(tiny_config()).eval()
    draw(model, 21)
    model.save_pretrained(folder)
    inputs = encode(HERE / "tiny_hf" / "vocab.txt", TINY_ROWS)
    with torch.no_grad():
        outputs = model(**inputs)
    write_json(
        folder / "expected.json",
        {
            "made_by": made_by(),
            **{key: inputs[key].tolist() for key in inputs},
            "prediction_logits": numbers(outputs.prediction_logits[:, 1:4]),
            "prediction_positions": [1, 2, 3],
            "seq_relationship_logits": numbers(outputs.seq_relationship_logits),
            "parameters": {k: list(v.shape) for k, v in model.state_dict().items()},
        },
    )


def minilm():
    folder = model_folder()
    inputs = encode(folder / "vocab.txt", MINILM_ROWS)
    model = BertModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        hidden = model.eval()(**inputs)
    weights = (folder / "model.safetensors").read_bytes()
    last = inputs["attention_mask"].sum(dim=1) - 1
    rows = torch.arange(len(last))
    write_json(
        HERE / "minilm_encoder.json",
        {
            "made_by": made_by(),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "texts": MINILM_ROWS,
            **{key: inputs[key].tolist() for key in inputs},
            "last_token": last.tolist(),
            "pooler_output": numbers(hidden.pooler_output),
            "last_hidden_state_first": numbers(hidden.last_hidden_state[:, 0]),
            "last_hidden_state_last": numbers(hidden.last_hidden_state[rows, last]),
        },
    )


def corpus_texts(name, columns):
    """The texts of a GLUE file as they are, the columns of a row one after the other."""
    data = Path(os.environ["GLUE_DATA_DIR"], name + ".tsv").read_bytes().decode("utf-8")
    rows = [line.split("\t") for line in data.removesuffix("\n").split("\n")]
    if isinstance(columns[0], str):
        header, *rows = rows
        columns = [header.index(column) for column in columns]
    return [row[column] for row in rows for column in columns]


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def tokenizer():
    vocab = model_folder() / "vocab.txt"
    slow = {lower: BertTokenizerLegacy(str(vocab), do_lower_case=lower) for lower in (True, False)}
    fast = {lower: BertTokenizer(str(vocab), do_lower_case=lower) for lower in (True, False)}

    corpora = []
    for name, columns in CORPORA.items():
        texts = corpus_texts(name, columns)
        ids = [ids_of(slow[True], text) for text in texts]
        lines = "".join(" ".join(map(str, row)) + "\n" for row in ids)
        other = fast[True](texts, add_special_tokens=False)["input_ids"]
        corpora.append(
            {
                "file": name + ".tsv",
                "columns": columns,
                "texts": len(texts),
                "ids": sum(map(len, ids)),
                "sha256": hashlib.sha256(lines.encode("ascii")).hexdigest(),
                "fast_differs": sum(a != b for a, b in zip(ids, other, strict=True)),
            }
        )

    cases = []
    for text in CASES:
        case = {"text": text}
        for key, lower in ("lower", True), ("cased", False):
            case[key] = ids_of(slow[lower], text)
            other = ids_of(fast[lower], text)
            if other != case[key]:
                case["fast_" + key] = other
        cases.append(case)

    write_json(
        HERE / "tokenizer.json",
        {
            "made_by": made_by(),
            "about": (
                "ids without special tokens, from transformers' BertTokenizerLegacy (the slow, "
                "pure-Python implementation): 'lower' with do_lower_case=True, 'cased' with "
                "do_lower_case=False and the same uncased vocabulary. A case has 'fast_lower' or "
                "'fast_cased' where BertTokenizer (backed by the Rust library tokenizers) gives "
                "other ids. A corpus hash is the SHA-256 of one line a text, ids joined by a "
                "space, do_lower_case=True; 'fast_differs' counts its texts on which the Rust "
                "implementation gives other ids."
            ),
            "vocab_sha256": hashlib.sha256(vocab.read_bytes()).hexdigest(),
            "fast_differs_lower": [c["text"] for c in cases if "fast_lower" in c],
            "fast_differs_cased": [c["text"] for c in cases if "fast_cased" in c],
            "corpora": corpora,
            "cases": cases,
        },
    )


def main():
    parts = {"tiny": tiny, "pretraining": pretraining, "minilm": minilm, "tokenizer": tokenizer}
    chosen = sys.argv[1:] or list(parts)
    if unknown := set(chosen) - set(parts):
        sys.exit(f"unknown part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    torch.set_num_threads(1)
    for name in chosen:
        parts[name]()
        print(f"wrote {name}")


if __name__ == "__main__":
    main()

"""Write GPT-2's reference values anew, from transformers.

Run it in the peer environment (benchmarks/peers/setup.sh makes it), from the repository root:

    BERT_PADDLE_HOME=... .venv-peers/bin/python tests/reference/gpt2.py [models] [tokenizer]

models     tiny_gpt2/ and tiny_gpt2_erf/: small random models with a tokenizer, in the formats that
           transformers and torch write, and their logits and losses
tokenizer  gpt2_tokenizer.json: hashes of the ids of some thousand texts, by the real vocabulary
           that scripts/fetch_gpt2_vocab.sh puts into $BERT_PADDLE_HOME/vocabularies/gpt2

The tests only read these files; they need neither torch nor transformers.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.numpy import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import bpe_texts  # noqa: E402

TEXTS, PER_DIGEST = 4000, 50
ROLES = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
MODELS = {
    "tiny_gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "tiny_gpt2_erf": {
        "n_embd": 24,
        "n_layer": 2,
        "n_head": 3,
        "n_positions": 40,
        "n_inner": 40,
        "activation_function": "gelu",
        "layer_norm_epsilon": 1e-6,
    },
}


def write_models() -> None:
    for number, (name, sizes) in enumerate(MODELS.items()):
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        trained = ByteLevelBPETokenizer()
        trained.train_from_iterator(
            bpe_texts.texts(300, seed=5), vocab_size=340, special_tokens=["<|endoftext|>"]
        )
        trained.save_model(str(folder))
        tokenizer = GPT2Tokenizer.from_pretrained(folder)
        tokenizer.add_special_tokens(ROLES)
        tokenizer.save_pretrained(folder)
        torch.manual_seed(number)
        config = GPT2Config(
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            initializer_range=0.2,
            **sizes,
        )
        model = GPT2LMHeadModel(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms are not all 0 and 1
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(folder)
        if name == "tiny_gpt2":
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "generation_config.json").unlink()
        for path in folder.iterdir():
            path.chmod(0o644)
        ids = torch.randint(0, len(tokenizer), (3, 20))
        lengths = torch.tensor([20, 13, 2])
        mask = (torch.arange(20)[None] < lengths[:, None]).long()
        with torch.no_grad():
            logits = model(ids, attention_mask=mask).logits
            loss = model(ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        expected = {"ids": ids, "lengths": lengths, "logits": logits, "loss": loss.reshape(1)}
        path = HERE / f"{name}_expected.safetensors"
        save_file({k: v.numpy() for k, v in expected.items()}, path)
        path.chmod(0o644)
        texts = bpe_texts.texts(200, seed=6)
        content = {"transformers": transformers.__version__, "ids": tokenizer(texts)["input_ids"]}
        (HERE / f"{name}_tokens.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def write_tokenizer() -> None:
    folder = Path(os.environ["BERT_PADDLE_HOME"]) / "vocabularies" / "gpt2"
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens(ROLES)
    texts = bpe_texts.texts(TEXTS)
    for i in range(0, TEXTS, 97):
        texts[i] = f"<|startoftext|>{texts[i]} <|endoftext|>"
    rows = tokenizer(texts)["input_ids"]
    digests = [
        hashlib.sha256(json.dumps(rows[start : start + PER_DIGEST]).encode()).hexdigest()[:16]
        for start in range(0, TEXTS, PER_DIGEST)
    ]
    content = {
        "transformers": transformers.__version__,
        "special_ids": [tokenizer.convert_tokens_to_ids(t) for t in ROLES.values()],
        "tokens": sum(map(len, rows)),
        "first": rows[:3],
        "digests": digests,
    }
    path = HERE / "gpt2_tokenizer.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["models", "tokenizer"]
    if "models" in chosen:
        write_models()
    if "tokenizer" in chosen:
        write_tokenizer()

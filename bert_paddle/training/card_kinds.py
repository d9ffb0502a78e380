"""What the model cards of a kind of models have in common: how such a model is loaded."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of models. pipeline: its name on Hugging Face's hub. command: of this package, with
    {folder}. model_class, tokenizer_class: PaddleNLP's; auto_class: transformers'."""

    pipeline: str
    command: str
    model_class: str
    auto_class: str
    tokenizer_class: str = "BertTokenizer"
    architecture: str = "bert"

    def how_to_load(self, folder: str, pairs: bool) -> str:
        """Markdown: commands and code that load the model in `folder` (relative) with this package,
        with PaddleNLP and, after an export, with transformers. pairs: a row has two texts."""
        command = self.command.format(folder=folder)
        command += ' --pair "Another text."' if pairs and "predict" in command else ""
        return f"""With bert_paddle, in the folder that contains {folder}:

```shell
{command}
```

With PaddleNLP:

```python
from paddlenlp.transformers import {self.model_class}, {self.tokenizer_class}

model = {self.model_class}.from_pretrained("{folder}")
tokenizer = {self.tokenizer_class}.from_pretrained("{folder}")
```

With transformers, after `bert-paddle export {folder} --format hf -o exported`:

```python
from transformers import {self.auto_class}, AutoTokenizer

model = {self.auto_class}.from_pretrained("exported")
tokenizer = AutoTokenizer.from_pretrained("exported")
```
"""


_CLASSIFIER = Kind(
    "text-classification",
    'bert-paddle predict {folder} "A text."',
    "BertForSequenceClassification",
    "AutoModelForSequenceClassification",
)
_KINDS = {
    "classification": _CLASSIFIER,
    "multi-label-classification": _CLASSIFIER,
    "regression": _CLASSIFIER,
    "pretraining": Kind(
        "fill-mask",
        "run_glue.py --model_name_or_path {folder} --task_name SST-2 --output_dir out",
        "BertForPretraining",
        "AutoModelForPreTraining",
    ),
    "generation": Kind(
        "text-generation",
        'bert-paddle generate {folder} --prompt "A text"',
        "GPTForCausalLM",
        "AutoModelForCausalLM",
        tokenizer_class="GPTTokenizer",
        architecture="gpt2",
    ),
}
_MASKED_LM = dataclasses.replace(
    _KINDS["pretraining"], model_class="BertForMaskedLM", auto_class="AutoModelForMaskedLM"
)


def find_kind(name: str, next_sentences: bool = True) -> Kind:
    """The kind with this name; next_sentences: whether a pre-training predicted them."""
    return _MASKED_LM if name == "pretraining" and not next_sentences else _KINDS[name]

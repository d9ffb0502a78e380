"""PaddleNLP's BERT alone, and PaddleNLP as a whole afterwards, each in a new interpreter."""

import subprocess
import sys

import pytest

LEAN = """
import sys
from bert_paddle import env, nlp
env.configure(1)
env.import_paddle()
bert = nlp.bert()
heavy = {"sklearn", "pandas", "datasets", "fastapi", "paddlenlp.taskflow"}
"""
WHOLE = {
    "its own modules": """
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
config = bert.BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
assert bert.BertForPretraining(config).bert.embeddings is not None
import paddlenlp
assert paddlenlp.__version__ and not heavy & sys.modules.keys()
""",
    "names of it": """
from paddlenlp.transformers import AutoModel, BertForSequenceClassification, BertTokenizer
assert BertForSequenceClassification is bert.BertForSequenceClassification
from paddlenlp.data import Pad
import paddlenlp
assert paddlenlp.Taskflow and "Taskflow" in dir(paddlenlp)
""",
    "all names of it": """
ours = bert.BertModel
from paddlenlp.transformers import *
assert BertModel is ours and ErnieModel
import paddlenlp.data
assert "Stack" in dir(paddlenlp.data)
""",
}
OTHER_VERSION = """
import sys
from bert_paddle import env, nlp
env.configure(1)
env.import_paddle()
opened = nlp._open_packages
def opened_but_in_need_of_more():
    opened()
    import paddlenlp.utils.env  # half of it is there
    sys.modules["paddlenlp.transformers.bert"] = None  # importing it fails
nlp._open_packages = opened_but_in_need_of_more
bert = nlp.bert()
import paddlenlp
from paddlenlp.transformers import BertModel
assert bert.BertModel is BertModel and type(paddlenlp).__name__ == "module"
"""


@pytest.mark.parametrize("script", [LEAN + what for what in WHOLE.values()], ids=WHOLE)
def test_without_the_rest(script):
    check(script)


def test_another_version_is_imported_as_it_is():
    check(OTHER_VERSION)


def check(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]

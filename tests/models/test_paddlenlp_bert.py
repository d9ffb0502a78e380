"""PaddleNLP's BERT alone, and PaddleNLP as a whole afterwards, each in a new interpreter."""

import subprocess
import sys

import pytest

BEGIN = """
from bert_paddle import env, nlp
env.configure(1)
env.import_paddle()
"""
LEAN = """
import sys
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
    # Modules that import each other in a circle, unless all is imported in PaddleNLP's own order.
    "a package of it": """
from paddlenlp.trainer import Trainer
from paddlenlp.transformers import BertModel
assert Trainer and BertModel is bert.BertModel
import importlib, paddlenlp.data
assert importlib.reload(paddlenlp.data).Stack
""",
    "a module of it": """
from paddlenlp.transformers.ernie.modeling import ErnieModel
import paddlenlp
assert paddlenlp.transformers.ErnieModel is ErnieModel
assert type(paddlenlp) is type(paddlenlp.data) is type(sys)
""",
    "a module beside BERT's": """
from paddlenlp.transformers.bert.tokenizer import BertTokenizer
import paddlenlp, pickle
assert paddlenlp.transformers.BertTokenizer is BertTokenizer
assert pickle.loads(pickle.dumps(BertTokenizer)) is BertTokenizer
assert BertTokenizer.__module__ in sys.modules
""",
    "what others need in a circle": """
import paddlenlp.utils.ie_utils
import paddlenlp
assert paddlenlp.Taskflow
""",
    "a package, loaded again": """
import importlib, paddlenlp
again = importlib.reload(paddlenlp)
assert again is paddlenlp and len(again.__path__) == 1
from paddlenlp.trainer import Trainer
assert importlib.reload(bert).BertModel is not None
""",
    "nothing of it": """
for name in [name for name in sys.modules if name.split(".")[0] == "paddlenlp"]:
    del sys.modules[name]
import paddlenlp
assert paddlenlp.Taskflow
""",
    "a name that is not there": """
import paddlenlp
try:
    paddlenlp.nothing
except AttributeError as error:
    assert "has no attribute 'nothing'" in str(error)
else:
    raise AssertionError("there is one")
assert paddlenlp.Taskflow
""",
    "names, in several threads": """
import concurrent.futures, paddlenlp
ask = lambda name: getattr(paddlenlp.transformers, name).__name__
names = ["ErnieModel", "AutoModel", "BertModel", "RobertaModel"]
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert list(pool.map(ask, names)) == names
""",
}
IN_THREADS = """
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda _: nlp.bert().BertModel, range(4)))
assert len(set(found)) == 1
"""
WHILE_IT_LOADS = """
import sys, threading
found = []
def ask():
    while "paddlenlp.transformers" not in sys.modules:
        pass
    from paddlenlp.transformers import AutoModel
    found.append(AutoModel)
other = threading.Thread(target=ask)
other.start()
bert = nlp.bert()
other.join()
import paddlenlp
assert found == [paddlenlp.transformers.AutoModel]
assert paddlenlp.transformers.BertModel is bert.BertModel
"""
IN_NEED_OF_NAMES = """
import sys
opened = nlp._open_packages
def opened_but_in_need_of_a_name():
    opened()
    from paddlenlp.data import Stack
nlp._open_packages = opened_but_in_need_of_a_name
bert = nlp.bert()
from paddlenlp.transformers import BertModel
assert bert.BertModel is BertModel and not nlp._taken and not nlp._filling
"""
OTHER_VERSION = """
import sys
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


def test_several_threads_at_once():
    check(IN_THREADS)


def test_another_thread_asks_while_it_loads():
    check(WHILE_IT_LOADS)


@pytest.mark.parametrize("script", [OTHER_VERSION, IN_NEED_OF_NAMES])
def test_another_version_is_imported_as_it_is(script):
    check(script)


ORDER = """
import sys
LEAN
before = {name for name in sys.modules if type(sys.modules[name]).__name__ != "_Opened"}
import paddlenlp
assert paddlenlp.Taskflow
order = [name for name in sys.modules if name.startswith("paddlenlp") and name not in before]
print(*order)
"""


def test_all_of_it_is_imported_in_its_own_order():
    whole, after = (check(ORDER.replace("LEAN", first)).split() for first in ("", LEAN))
    assert len(after) > 100
    assert after == [name for name in whole if name in set(after)]


def check(script):
    done = subprocess.run([sys.executable, "-c", BEGIN + script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout

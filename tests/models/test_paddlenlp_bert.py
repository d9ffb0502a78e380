"""PaddleNLP's BERT alone, then all of PaddleNLP, each case in a new interpreter."""

import subprocess
import sys

import pytest

SETUP = """
from bert_paddle.common import runtime
from bert_paddle.models import paddlenlp_bert
runtime.configure(1)
runtime.import_paddle()
"""
LOAD_BERT = """
import sys
bert = paddlenlp_bert.bert_module()
heavy = {"sklearn", "pandas", "datasets", "fastapi", "paddlenlp.taskflow"}
"""
AFTERWARDS = {
    "BERT's own modules": """
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
config = bert.BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
assert bert.BertForPretraining(config).bert.embeddings is not None
import paddlenlp
assert paddlenlp.__version__ and not heavy & sys.modules.keys()
""",
    "names of PaddleNLP": """
from paddlenlp.transformers import AutoModel, BertForSequenceClassification, BertTokenizer
assert BertForSequenceClassification is bert.BertForSequenceClassification
from paddlenlp.data import Pad
import paddlenlp
assert paddlenlp.Taskflow and "Taskflow" in dir(paddlenlp)
""",
    "all names (import *)": """
ours = bert.BertModel
from paddlenlp.transformers import *
assert BertModel is ours and ErnieModel
import paddlenlp.data
assert "Stack" in dir(paddlenlp.data)
""",
    # Modules with circular imports, unless all is imported in PaddleNLP's own order.
    "a package": """
from paddlenlp.trainer import Trainer
from paddlenlp.transformers import BertModel
assert Trainer and BertModel is bert.BertModel
import importlib, paddlenlp.data
assert importlib.reload(paddlenlp.data).Stack
""",
    "a module": """
from paddlenlp.transformers.ernie.modeling import ErnieModel
import paddlenlp
assert paddlenlp.transformers.ErnieModel is ErnieModel
assert type(paddlenlp) is type(paddlenlp.data) is type(sys)
""",
    "a module next to BERT's": """
from paddlenlp.transformers.bert.tokenizer import BertTokenizer
import paddlenlp, pickle
assert paddlenlp.transformers.BertTokenizer is BertTokenizer
assert pickle.loads(pickle.dumps(BertTokenizer)) is BertTokenizer
assert BertTokenizer.__module__ in sys.modules
""",
    "a module in an import cycle": """
import paddlenlp.utils.ie_utils
import paddlenlp
assert paddlenlp.Taskflow
""",
    "a package, reloaded": """
import importlib, paddlenlp
reloaded = importlib.reload(paddlenlp)
assert reloaded is paddlenlp and len(reloaded.__path__) == 1
from paddlenlp.trainer import Trainer
assert importlib.reload(bert).BertModel is not None
""",
    "all modules deleted": """
for name in [name for name in sys.modules if name.split(".")[0] == "paddlenlp"]:
    del sys.modules[name]
import paddlenlp
assert paddlenlp.Taskflow
""",
    "a missing name": """
import paddlenlp
try:
    paddlenlp.nothing
except AttributeError as error:
    assert "has no attribute 'nothing'" in str(error)
else:
    raise AssertionError("no AttributeError")
assert paddlenlp.Taskflow
""",
    "names in several threads": """
import concurrent.futures, paddlenlp
get_name = lambda name: getattr(paddlenlp.transformers, name).__name__
names = ["ErnieModel", "AutoModel", "BertModel", "RobertaModel"]
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert list(pool.map(get_name, names)) == names
""",
}
IN_THREADS = """
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    models = list(pool.map(lambda _: paddlenlp_bert.bert_module().BertModel, range(4)))
assert len(set(models)) == 1
"""
DURING_IMPORT = """
import sys, threading
results = []
def import_name():
    while "paddlenlp.transformers" not in sys.modules:
        pass
    from paddlenlp.transformers import AutoModel
    results.append(AutoModel)
other = threading.Thread(target=import_name)
other.start()
bert = paddlenlp_bert.bert_module()
other.join()
import paddlenlp
assert results == [paddlenlp.transformers.AutoModel]
assert paddlenlp.transformers.BertModel is bert.BertModel
"""
NEEDS_A_NAME = """
import sys
original = paddlenlp_bert._install_lazy_packages
def install_then_import_a_name():
    original()
    from paddlenlp.data import Stack
paddlenlp_bert._install_lazy_packages = install_then_import_a_name
bert = paddlenlp_bert.bert_module()
from paddlenlp.transformers import BertModel
assert bert.BertModel is BertModel and not paddlenlp_bert._full_import_begun
assert not paddlenlp_bert._threads_without_full_import
"""
OTHER_VERSION = """
import sys
original = paddlenlp_bert._install_lazy_packages
def install_then_fail():
    original()
    import paddlenlp.utils.env  # a part is imported
    sys.modules["paddlenlp.transformers.bert"] = None  # importing it fails
paddlenlp_bert._install_lazy_packages = install_then_fail
bert = paddlenlp_bert.bert_module()
import paddlenlp
from paddlenlp.transformers import BertModel
assert bert.BertModel is BertModel and type(paddlenlp).__name__ == "module"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", [LOAD_BERT + code for code in AFTERWARDS.values()], ids=AFTERWARDS
)
def test_paddlenlp_works_after_bert_alone(script):
    run_script(script)


def test_several_threads_get_the_same_module():
    """And nothing else of PaddleNLP."""
    run_script(IN_THREADS + "import sys; assert not {'datasets', 'seqeval'} & set(sys.modules)\n")


@pytest.mark.slow  # imports all of PaddleNLP, as the fast test_model_card.py does once
def test_another_thread_imports_a_name_meanwhile():
    run_script(DURING_IMPORT)


@pytest.mark.slow
@pytest.mark.parametrize("script", [OTHER_VERSION, NEEDS_A_NAME])
def test_another_version_is_imported_in_full(script):
    run_script(script)


IMPORT_ORDER = """
import sys
LOAD_BERT
before = {name for name in sys.modules if type(sys.modules[name]).__name__ != "_LazyPackage"}
import paddlenlp
assert paddlenlp.Taskflow
order = [name for name in sys.modules if name.startswith("paddlenlp") and name not in before]
print(*order)
"""


@pytest.mark.slow  # imports all of PaddleNLP twice
def test_all_modules_are_imported_in_paddlenlps_order():
    alone, after_bert = (
        run_script(IMPORT_ORDER.replace("LOAD_BERT", first)).split() for first in ("", LOAD_BERT)
    )
    assert len(after_bert) > 100
    assert after_bert == [name for name in alone if name in set(after_bert)]


def run_script(script):
    process = subprocess.run([sys.executable, "-c", SETUP + script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout

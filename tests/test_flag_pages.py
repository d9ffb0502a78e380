"""docs/FLAGS.md and FLAGS_zh.md: their tables are those of docs/flags.py, and lack no flag."""

import importlib.util
import re
from pathlib import Path

import pytest

from bert_paddle.common.flag_fields import declared_flags
from bert_paddle.pretrain.create.args import CreateArgs

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("flag_pages", DOCS / "flags.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_what_the_command_writes(generator):
    for path, content in generator.pages().items():
        assert path.read_text(encoding="utf-8") == content, "run python docs/flags.py"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_flag_is_on_the_page(generator, language):
    page = generator.PAGES[language].read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `--(\w+)`", page, re.MULTILINE))
    for args_class in (*generator.TRAINING.values(), CreateArgs):
        assert {field.name for field in declared_flags(args_class)} <= listed


def test_a_meaning_without_chinese_is_an_error(generator):
    with pytest.raises(SystemExit, match="error: flags_zh.yaml has no Chinese for: a new meaning"):
        generator.chinese()("a new meaning")


def test_no_chinese_is_left_of_a_meaning_that_is_gone(generator):
    import yaml

    used = set()
    page = generator.PAGES["en"].read_text(encoding="utf-8")
    generator.update(page, lambda text: used.add(text) or text)
    texts = yaml.safe_load(generator.CHINESE.read_text(encoding="utf-8"))
    assert set(texts) == used


def test_what_a_cell_says(generator):
    assert generator.meaning_text("see --seed, $HOME, a_b and '*_x_*'") == (
        r"see `--seed`, `$HOME`, a_b and '\*\_x\_\*'"
    )
    number = {"choices": None, "kind": "int", "share_below_1": False}
    limits = {"minimum": 0, "exclusive_minimum": None, "maximum": 64}
    assert generator.value_text(number | limits, str) == "0 ≤ N ≤ 64"
    limits = {"minimum": None, "exclusive_minimum": 0, "maximum": None}
    assert generator.value_text({**number, "kind": "float", **limits}, str) == "X > 0"

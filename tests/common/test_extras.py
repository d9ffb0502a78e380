"""What a lean installation lacks is named, or done without."""

import sys

import pytest

from bert_paddle.common import extras
from bert_paddle.common.errors import UserError


@pytest.mark.parametrize("name", extras.EXTRAS)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UserError, match=rf"--x needs {name}, .* bert-paddle\[{extras.EXTRAS[name]}\]"
    ):
        extras.import_extra(name, "--x")


def test_an_error_inside_a_package_is_not_hidden(monkeypatch, tmp_path):
    (tmp_path / "shtab.py").write_text("import no_such_module\n")
    monkeypatch.delitem(sys.modules, "shtab", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        extras.import_extra("shtab", "completion")
    sys.modules.pop("shtab", None)

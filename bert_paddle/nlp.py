"""PaddleNLP's BERT without the rest of PaddleNLP.

`import paddlenlp` loads its task flows, its server and its data sets, and with them scikit-learn,
pandas, datasets and FastAPI: seconds and memory that BERT has no use for
(benchmarks/paddlenlp_import.md). Here its packages are opened, so that their modules can be
imported, and their own `__init__` runs only when somebody asks for a name that no module brought.
"""

import functools
import importlib.metadata
import importlib.util
import sys
import types
from typing import Any

_PACKAGES = "paddlenlp", "paddlenlp.transformers", "paddlenlp.data"


@functools.cache
def bert() -> Any:
    """The module paddlenlp.transformers.bert.modeling: BertModel and its heads, BertConfig."""
    if "paddlenlp" not in sys.modules:
        try:
            _open_packages()
            import paddlenlp.transformers.bert.modeling as found

            return found
        except Exception:  # another version of PaddleNLP, whose modules need more of each other
            for name in [name for name in sys.modules if name.split(".")[0] == "paddlenlp"]:
                del sys.modules[name]
    import paddlenlp.transformers

    return paddlenlp.transformers.bert.modeling


def _open_packages() -> None:
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"no package {name}", name=name)
        package = _Opened(name)
        vars(package).update(
            __spec__=spec,
            __loader__=spec.loader,
            __file__=spec.origin,
            __package__=name,
            __path__=spec.submodule_search_locations,
        )
        sys.modules[name] = package
        above, _, own = name.rpartition(".")
        if above:
            setattr(sys.modules[above], own, package)
    vars(sys.modules["paddlenlp"])["__version__"] = importlib.metadata.version("paddlenlp")


class _Opened(types.ModuleType):
    """A package that becomes what it is meant to be when a name is asked for that it lacks."""

    def __getattr__(self, name: str) -> Any:
        # The import system asks for such names of every module.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        self._fill()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        self._fill()
        return dir(self)

    def _fill(self) -> None:
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(self)

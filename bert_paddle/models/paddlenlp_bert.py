"""PaddleNLP's BERT without the rest of PaddleNLP.

`import paddlenlp` loads its task flows, its server and its data sets, and with them scikit-learn,
pandas, datasets and FastAPI: seconds and memory that BERT has no use for
(benchmarks/paddlenlp_import.md). Here its packages are opened, so that BERT's modules can be
imported. PaddleNLP is imported as a whole, in its own order, when somebody asks for a name or a
module beyond those; the packages and BERT's modules stay the same objects.
"""

import functools
import importlib.metadata
import importlib.util
import sys
import threading
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

_PACKAGES = "paddlenlp", "paddlenlp.transformers", "paddlenlp.data"
# Held while BERT is loaded. Where it is taken after a lock of the import system, that is one of a
# module that loading BERT does not need.
_lock = threading.RLock()
_taken: dict[str, types.ModuleType] = {}  # opened packages that are being filled, or are whole
_filling: set[int] = set()  # the threads whose imports find a package as far as it is


def bert_module() -> Any:
    """The module paddlenlp.transformers.bert.modeling: BertModel and its heads, BertConfig."""
    with _lock:
        return _bert()


@functools.cache
def _bert() -> Any:
    if "paddlenlp" not in sys.modules:
        _filling.add(threading.get_ident())
        try:
            _open_packages()
            import paddlenlp.transformers.bert.modeling as found

            sys.meta_path.insert(0, _Beyond())
            return found
        except BaseException as error:
            for name in [name for name in sys.modules if name.split(".")[0] == "paddlenlp"]:
                del sys.modules[name]
            if not isinstance(error, Exception):
                raise
            # Another version of PaddleNLP, whose modules need more of each other.
        finally:
            _filling.discard(threading.get_ident())
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


def _fill() -> None:
    """Import PaddleNLP as a whole, into the opened packages; the locks of the import system have
    every other thread wait for the one that does it."""
    with _lock:
        for name in _PACKAGES:
            if name not in _taken and isinstance(sys.modules.get(name), _Opened):
                _taken[name] = sys.modules.pop(name)
    import paddlenlp
    import paddlenlp.data
    import paddlenlp.transformers  # noqa: F401


class _Opened(types.ModuleType):
    """A package that becomes what it is meant to be when a name is asked for that it lacks."""

    def __getattr__(self, name: str) -> Any:
        # The import system asks for such names of every module.
        special = name.startswith("__") and name != "__all__"
        if special or threading.get_ident() in _filling:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _fill()
        return types.ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        if threading.get_ident() not in _filling:
            _fill()
        return sorted(vars(self))


class _Beyond(MetaPathFinder):
    """Has PaddleNLP imported as a whole before a module of it beyond BERT's: by themselves, most
    import each other in a circle."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "paddlenlp":
            return None
        module = _taken.get(name)
        is_open = isinstance(sys.modules.get("paddlenlp"), _Opened)
        # Not while it is filled already: by this thread, in PaddleNLP's order, or by another, which
        # may be about to wait for this very module.
        if module is None and is_open and not _taken:
            _fill()
            module = sys.modules.get(name)  # by now, most often
        elif not isinstance(module, _Opened):
            return None
        if module is None or target is not None:  # which is reloaded as any other
            return None
        spec = ModuleSpec(name, _Same(module), is_package=hasattr(module, "__path__"))
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations[:] = module.__path__
        spec.origin = getattr(module, "__file__", None)
        # What the import system takes, in place of what is returned, where the module is there.
        module.__spec__ = spec
        return spec


class _Same(Loader):
    """Loads a module into the object that it is already."""

    def __init__(self, module: types.ModuleType):
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        own = self._spec
        if isinstance(module, _Opened):
            assert own is not None and own.loader is not None
            thread, outermost = threading.get_ident(), threading.get_ident() not in _filling
            _filling.add(thread)
            try:
                own.loader.exec_module(module)
            finally:
                if outermost:
                    _filling.discard(thread)
            module.__class__ = types.ModuleType  # type: ignore[assignment]
        module.__spec__ = own

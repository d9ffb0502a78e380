"""Imports PaddleNLP's BERT without the rest of PaddleNLP.

`import paddlenlp` loads its task flows, server and datasets, and with them scikit-learn, pandas,
datasets and FastAPI: seconds and memory that BERT does not need (benchmarks/paddlenlp_import.md).
This module puts lazy packages in place of PaddleNLP's, so that BERT's modules are imported alone.
The first use of any other name or module of PaddleNLP imports all of it, in its own order, into the
same package objects, without importing BERT's modules again.
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

from bert_paddle.common import runtime

_PACKAGES = "paddlenlp", "paddlenlp.transformers", "paddlenlp.data"
# Locked while BERT is imported. This cannot deadlock: a thread that waits for it inside an import
# has locked only a module that BERT does not import.
_lock = threading.RLock()
_full_import_begun: dict[str, types.ModuleType] = {}  # lazy packages by name
_threads_without_full_import: set[int] = set()  # threads whose accesses start no full import


def bert_module() -> Any:
    """The module paddlenlp.transformers.bert.modeling: BertModel and its heads, BertConfig."""
    with _lock, runtime.writable_home():
        return _load_bert_module()


@functools.cache
def _load_bert_module() -> Any:
    if "paddlenlp" not in sys.modules:
        _threads_without_full_import.add(threading.get_ident())
        try:
            _install_lazy_packages()
            import paddlenlp.transformers.bert.modeling as modeling

            sys.meta_path.insert(0, _ImportAllFinder())
            return modeling
        except BaseException as error:
            for name in [name for name in sys.modules if name.split(".")[0] == "paddlenlp"]:
                del sys.modules[name]
            if not isinstance(error, Exception):
                raise
            # Another version of PaddleNLP, whose BERT needs more of it: import all of it below.
        finally:
            _threads_without_full_import.discard(threading.get_ident())
    import paddlenlp.transformers

    return paddlenlp.transformers.bert.modeling


def _install_lazy_packages() -> None:
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"no package named {name}", name=name)
        package = _LazyPackage(name)
        vars(package).update(
            __spec__=spec,
            __loader__=spec.loader,
            __file__=spec.origin,
            __package__=name,
            __path__=spec.submodule_search_locations,
        )
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)
    vars(sys.modules["paddlenlp"])["__version__"] = importlib.metadata.version("paddlenlp")


def _import_all() -> None:
    """Import all of PaddleNLP into the lazy packages. Other threads that import it meanwhile wait
    for the import system's locks."""
    with _lock:
        for name in _PACKAGES:
            if name not in _full_import_begun and isinstance(sys.modules.get(name), _LazyPackage):
                _full_import_begun[name] = sys.modules.pop(name)
    import paddlenlp
    import paddlenlp.data
    import paddlenlp.transformers  # noqa: F401


class _LazyPackage(types.ModuleType):
    """A package that is imported in full when a name that it lacks is accessed."""

    def __getattr__(self, name: str) -> Any:
        # The import system looks up dunder names in every module; these must not start the full
        # import. __all__ is the exception: only `import *` reads it, and it needs all names.
        is_special = name.startswith("__") and name != "__all__"
        if is_special or threading.get_ident() in _threads_without_full_import:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _import_all()
        return types.ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        if threading.get_ident() not in _threads_without_full_import:
            _import_all()
        return sorted(vars(self))


class _ImportAllFinder(MetaPathFinder):
    """Imports all of PaddleNLP when a module other than BERT's is imported: alone, most of them
    fail because of circular imports."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "paddlenlp":
            return None
        module = _full_import_begun.get(name)
        is_lazy = isinstance(sys.modules.get("paddlenlp"), _LazyPackage)
        # Start no full import if one has begun. In this thread, PaddleNLP's own import order must
        # be kept; if it is in another thread, waiting for it could deadlock.
        if module is None and is_lazy and not _full_import_begun:
            _import_all()
            module = sys.modules.get(name)  # usually imported by that
        elif not isinstance(module, _LazyPackage):
            return None
        if module is None or target is not None:  # a reload, left to the other finders
            return None
        spec = ModuleSpec(name, _SameModuleLoader(module), is_package=hasattr(module, "__path__"))
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations[:] = module.__path__
        spec.origin = getattr(module, "__file__", None)
        # If the module was put into sys.modules during this search (by _import_all), importlib
        # takes module.__spec__ and ignores the returned spec.
        module.__spec__ = spec
        return spec


class _SameModuleLoader(Loader):
    """Runs a lazy package's code in its existing object; leaves an imported module as it is."""

    def __init__(self, module: types.ModuleType):
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        spec = self._spec
        if isinstance(module, _LazyPackage):
            assert spec is not None and spec.loader is not None
            thread = threading.get_ident()
            is_outermost = thread not in _threads_without_full_import
            _threads_without_full_import.add(thread)
            try:
                spec.loader.exec_module(module)
            finally:
                if is_outermost:
                    _threads_without_full_import.discard(thread)
            # Imported in full: no longer lazy.
            module.__class__ = types.ModuleType  # type: ignore[assignment]
        module.__spec__ = spec

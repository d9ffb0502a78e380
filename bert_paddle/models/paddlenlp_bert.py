"""Imports PaddleNLP's BERT without the rest of PaddleNLP.

`import paddlenlp` loads its task flows, server and datasets, and with them scikit-learn, pandas,
datasets and FastAPI: seconds and memory that BERT does not need (benchmarks/paddlenlp_import.md).
Here lazy packages stand in for PaddleNLP's, so that BERT's modules can be imported alone. All of
PaddleNLP is imported, in its own order, when any other name or module of it is used; the package
objects and BERT's modules stay the same.
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
# Held while BERT is imported. No deadlock: a thread that waits for it while holding an import lock
# holds that of a module which importing BERT does not need.
_lock = threading.RLock()
_loading: dict[str, types.ModuleType] = {}  # lazy packages being imported in full, or imported
_importing_threads: set[int] = set()  # threads that see the packages as they are


def bert_module() -> Any:
    """The module paddlenlp.transformers.bert.modeling: BertModel and its heads, BertConfig."""
    with _lock:
        return _load_bert_module()


@functools.cache
def _load_bert_module() -> Any:
    if "paddlenlp" not in sys.modules:
        _importing_threads.add(threading.get_ident())
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
            # Another version of PaddleNLP, whose modules depend on more of it: import all below.
        finally:
            _importing_threads.discard(threading.get_ident())
    import paddlenlp.transformers

    return paddlenlp.transformers.bert.modeling


def _install_lazy_packages() -> None:
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"no package {name}", name=name)
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
    """Import all of PaddleNLP into the lazy packages; the import system's locks make other threads
    wait."""
    with _lock:
        for name in _PACKAGES:
            if name not in _loading and isinstance(sys.modules.get(name), _LazyPackage):
                _loading[name] = sys.modules.pop(name)
    import paddlenlp
    import paddlenlp.data
    import paddlenlp.transformers  # noqa: F401


class _LazyPackage(types.ModuleType):
    """A package that is imported in full when a name that it lacks is accessed."""

    def __getattr__(self, name: str) -> Any:
        # The import system reads such names of every module.
        special = name.startswith("__") and name != "__all__"
        if special or threading.get_ident() in _importing_threads:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _import_all()
        return types.ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        if threading.get_ident() not in _importing_threads:
            _import_all()
        return sorted(vars(self))


class _ImportAllFinder(MetaPathFinder):
    """Imports all of PaddleNLP before any of its modules but BERT's: imported alone, most fail in
    circular imports."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "paddlenlp":
            return None
        module = _loading.get(name)
        is_lazy = isinstance(sys.modules.get("paddlenlp"), _LazyPackage)
        # Not while all is being imported already: by this thread, in PaddleNLP's order, or by
        # another one, which may be about to wait for this module.
        if module is None and is_lazy and not _loading:
            _import_all()
            module = sys.modules.get(name)  # usually imported by now
        elif not isinstance(module, _LazyPackage):
            return None
        if module is None or target is not None:  # a reload, as of any module
            return None
        spec = ModuleSpec(name, _SameModuleLoader(module), is_package=hasattr(module, "__path__"))
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations[:] = module.__path__
        spec.origin = getattr(module, "__file__", None)
        # The import system uses this instead of the returned spec if the module exists.
        module.__spec__ = spec
        return spec


class _SameModuleLoader(Loader):
    """Loads a module into its existing object."""

    def __init__(self, module: types.ModuleType):
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        spec = self._spec
        if isinstance(module, _LazyPackage):
            assert spec is not None and spec.loader is not None
            thread, outermost = (
                threading.get_ident(),
                threading.get_ident() not in _importing_threads,
            )
            _importing_threads.add(thread)
            try:
                spec.loader.exec_module(module)
            finally:
                if outermost:
                    _importing_threads.discard(thread)
            module.__class__ = types.ModuleType  # type: ignore[assignment]
        module.__spec__ = spec

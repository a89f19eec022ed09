"""The names that indexer and query had: `import indexer` and `import query` find them for one more release.

A user's query.py, or another package of that name, which Python finds by itself, comes first: this finder is asked
last.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class FormerNames(MetaPathFinder):
    """Finds indexer, query and their modules as those of cezsar.indexer and cezsar.query, with a DeprecationWarning."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ("indexer", "query"):
            return None
        return ModuleSpec(fullname, _Former(), is_package=True)


class _Former(Loader):
    """Gives a module what is in the one that has its place now."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # as Python makes them

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        try:
            now = import_module(f"cezsar.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"cezsar.{name}":
                raise
            raise ModuleNotFoundError(f"No module named {name!r}", name=name) from None
        if "." not in name:
            said = f"import cezsar.{name}, not {name}: the short name goes with the next release."
            warnings.warn(said, DeprecationWarning, stacklevel=2)
        vars(module).update((key, value) for key, value in vars(now).items() if not key.startswith("__"))

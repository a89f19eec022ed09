"""CEZSAR: search your own videos by what happens in them.

`cezsar.indexer.index` writes an index, `cezsar.query.Searcher` and `cezsar.query.classify` ask it; the folders indexer/
and query/ of the checkout are installed under these names.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cezsar.former import FormerNames

if TYPE_CHECKING:
    from cezsar.errors import CezsarError
    from cezsar.settings import Settings
    from cezsar.settings import load as load_settings

__version__ = "0.1.0"
__all__ = ["CezsarError", "Settings", "__version__", "load_settings"]

sys.meta_path.append(FormerNames())


def __getattr__(name: str) -> Any:
    # settings import NumPy, which `cezsar --help` need not wait for
    if name == "CezsarError":
        from cezsar.errors import CezsarError

        return CezsarError
    if name in ("Settings", "load_settings"):
        from cezsar import settings

        return settings.Settings if name == "Settings" else settings.load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""CEZSAR: search your own videos by what happens in them.

`cezsar.indexer.index` writes an index, `cezsar.query.Searcher` and `cezsar.query.classify` ask it; the folders indexer/
and query/ of the checkout are installed under these names.
"""

from __future__ import annotations

import sys

from cezsar.errors import CezsarError
from cezsar.former import FormerNames
from cezsar.settings import Settings
from cezsar.settings import load as load_settings

__version__ = "0.1.0"
__all__ = ["CezsarError", "Settings", "__version__", "load_settings"]

sys.meta_path.append(FormerNames())

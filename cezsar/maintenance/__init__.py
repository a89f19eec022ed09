"""Keeping rows and vectors in step: build the FAISS cache from the catalog, and prove that the two agree."""

from cezsar.maintenance.rebuild import cache_state, fold_if_due, open_cache, open_to_write, rebuild
from cezsar.maintenance.verify import Verification, verify

__all__ = ["Verification", "cache_state", "fold_if_due", "open_cache", "open_to_write", "rebuild", "verify"]

"""Keeping rows and vectors in step: build the FAISS cache from the catalog, and prove that the two agree."""

from cezsar.maintenance.backup import back_up, restore
from cezsar.maintenance.rebuild import cache_state, fold_if_due, open_cache, open_to_write, rebuild
from cezsar.maintenance.spaces import drop_older, roll_back, switch
from cezsar.maintenance.stats import stats
from cezsar.maintenance.verify import Verification, verify

__all__ = [
    "Verification",
    "back_up",
    "cache_state",
    "drop_older",
    "fold_if_due",
    "open_cache",
    "open_to_write",
    "rebuild",
    "restore",
    "roll_back",
    "stats",
    "switch",
    "verify",
]

"""The work of an administrator: proof that rows and vectors agree, diagnosis, figures, backups, older vectors."""

from cezsar.maintenance.backup import back_up, restore
from cezsar.maintenance.spaces import drop_older, roll_back, switch
from cezsar.maintenance.stats import stats
from cezsar.maintenance.verify import Verification, verify

__all__ = [
    "Verification",
    "back_up",
    "drop_older",
    "restore",
    "roll_back",
    "stats",
    "switch",
    "verify",
]

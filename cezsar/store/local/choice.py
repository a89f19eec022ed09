"""Which ids may be found: some only, or all but some."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cezsar.types import Ids


@dataclass(frozen=True, slots=True)
class Choice:
    """only, if given, are the ids that may be found; ids in but may not. Both are (N,), only is ascending."""

    only: Ids | None
    but: Ids

    @property
    def chooses(self) -> bool:
        """Whether there is any id that may not be found."""
        return self.only is not None or len(self.but) > 0

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        """For each of these ids whether it may be found: (N,)."""
        shown = np.ones(len(ids), np.bool_) if self.only is None else np.isin(ids, self.only)
        return shown & ~np.isin(ids, self.but) if len(self.but) else shown

    def bits(self, last: int) -> NDArray[np.uint8]:
        """The same for every id up to last, one bit per id, the lowest first."""
        only = None if self.only is None else self.only[self.mask(self.only)] if len(self.but) else self.only
        bits = np.full((last >> 3) + 1, 0 if only is not None else 0xFF, np.uint8)
        ids = np.unique(self.but) if only is None else only
        ids = ids[(ids >= 0) & (ids <= last)]
        if len(ids):
            at = ids >> 3
            starts = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
            ored = np.bitwise_or.reduceat(np.left_shift(1, ids & 7).astype(np.uint8), starts)
            bits[at[starts]] = ored if only is not None else ~ored
        return bits

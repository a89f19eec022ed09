"""Reading what an index is: its id, its encoder and its sampling."""

from __future__ import annotations

from cezsar.errors import IndexDamaged, SettingsError
from cezsar.store.statements import Connection
from cezsar.store.words import Info
from cezsar.types import EncoderIdentity, Location, Sampling

_INFO = """
SELECT index_id, encoder, weights_sha256, streams, dimension, generation, fps, window_s, stride_s
FROM index_info LIMIT 2
"""


def info(connection: Connection, place: Location) -> Info:
    """The identity of the index that a catalog is of. Raises IndexDamaged if it names none."""
    rows = connection.execute(_INFO).fetchall()
    damaged = IndexDamaged(f"The catalog in {place} does not name its encoder; it was not finished, or is damaged.")
    if len(rows) != 1:
        raise damaged
    index_id, encoder, weights_sha256, streams, dimension, generation, *times = rows[0]
    if not all(isinstance(text, str) for text in (index_id, encoder, weights_sha256, streams)) or not all(
        isinstance(number, int) and 0 <= number - least < 1 << 62 for number, least in ((dimension, 1), (generation, 0))
    ):
        raise damaged
    try:
        sampling = Sampling(*times)
    except (SettingsError, TypeError):
        raise damaged from None
    return Info(index_id, EncoderIdentity(encoder, weights_sha256, dimension, streams), sampling)

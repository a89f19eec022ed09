"""The write path: files -> segments -> vectors -> catalog."""

from indexer.embedding import embed
from indexer.pipeline import Progress, index
from indexer.removal import remove

__all__ = ["Progress", "embed", "index", "remove"]

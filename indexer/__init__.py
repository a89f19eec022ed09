"""The write path: files -> segments -> vectors -> catalog."""

from indexer.embedding import embed
from indexer.pipeline import Progress, index
from indexer.reembedding import ReembedReport, reembed
from indexer.removal import remove

__all__ = ["Progress", "ReembedReport", "embed", "index", "reembed", "remove"]

"""The write path: files -> segments -> vectors -> catalog."""

from cezsar.indexer.embedding import embed
from cezsar.indexer.pipeline import Progress, index
from cezsar.indexer.reembedding import ReembedReport, reembed
from cezsar.indexer.removal import remove
from cezsar.indexer.watching import watch

__all__ = ["Progress", "ReembedReport", "embed", "index", "reembed", "remove", "watch"]

"""The HTTP API and the page over one index; the only door to FastAPI."""

from cezsar.server import tokens
from cezsar.server.app import create_app
from cezsar.server.entrance import doorway
from cezsar.server.guard import Access, is_loopback
from cezsar.server.run import serve

__all__ = ["Access", "create_app", "doorway", "is_loopback", "serve", "tokens"]

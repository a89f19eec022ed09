"""The newest revision in migrations/versions, which every store has."""

REVISION = "0011"

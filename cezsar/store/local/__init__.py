"""One index in one folder: rows and vectors in SQLite, the truth, and a cache of the vectors beside it."""

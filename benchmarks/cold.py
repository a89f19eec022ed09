"""A query from the shell, everything from the start: python benchmarks/cold.py.

The yardsticks answer the same question about the same vectors with the same sentence encoder, in a fresh process
each, as tools do that load torch and a model for each query. Two are in the style of tools that people use (their way
of loading and searching, not their code): only the engineering differs.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from measuring import Row, ratios, turns

from cezsar import encoders, store
from cezsar.types import Sampling, Segment, unit

_TEXT = "person playing violin"
_NUM_SEGMENTS = 10_000
_ROUNDS = 7
_IMPORTS = "import numpy, faiss, sqlalchemy"
_ENCODE = """
import sys
import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from cezsar.encoders.weights import SENTENCE_WEIGHTS
from safetensors.torch import load_file
folder, text = sys.argv[1:]
source = SENTENCE_WEIGHTS.found().parent
tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
tower = load_file(f"{folder}/tower.safetensors")
with torch.inference_mode():
    tokens = tokenizer([text], return_tensors="pt")
    row = torch.nn.functional.normalize(model(**tokens).last_hidden_state.mean(dim=1))
    row = torch.nn.functional.layer_norm(
        row @ tower["linear.weight"].T + tower["linear.bias"], (384,), tower["norm.weight"], tower["norm.bias"]
    )
    row = torch.nn.functional.normalize(row).numpy()[0]
"""
_SEARCHES = {
    # the plainest: vectors and names in two files
    "torch + transformers": """
vectors = np.load(f"{folder}/vectors.npy")
names = open(f"{folder}/names.txt").read().split("\\n")
scores = vectors @ row
print([(names[i], scores[i]) for i in np.argsort(-scores)[:10]])
""",
    # rows of a database with a vector each, all read and stacked, as rclip does
    "in rclip's style": """
import sqlite3
found = sqlite3.connect(f"{folder}/rclip.sqlite").execute("SELECT name, vector FROM images").fetchall()
scores = np.stack([np.frombuffer(vector, np.float32) for _, vector in found]) @ row
print([(found[i][0], scores[i]) for i in np.argsort(-scores)[:10]])
""",
    # a FAISS index and its metadata beside it, as clip-retrieval does
    "in clip-retrieval's style": """
import faiss
index = faiss.read_index(f"{folder}/index.faiss", faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
scores, ids = index.search(row[None], 10)
names = open(f"{folder}/names.txt").read().split("\\n")
print([(names[i], score) for i, score in zip(ids[0], scores[0])])
""",
}


def rows() -> list[Row]:
    """A cold query against its yardsticks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        command = [sys.executable, "-m", "cezsar", "query", _TEXT, "--index", str(folder / "index"), "--json"]
        ours = _process(command)
        found = []
        for style, search in _SEARCHES.items():
            target = 8.0 if style == "torch + transformers" else None
            took, theirs = turns(ours, _process([sys.executable, "-c", _ENCODE + search, name, _TEXT]), _ROUNDS)
            job = f"cold query, {_NUM_SEGMENTS:,} segments"
            found.append(
                Row(job, f"the same answer {'through ' if target else ''}{style}", ratios(theirs, took), target)
            )
        took, theirs = turns(ours, _process([sys.executable, "-c", _IMPORTS]), _ROUNDS)
        found.append(Row(job, f'python -c "{_IMPORTS}"', ratios(took, theirs), 1.5, at_most=True))
    return found


def fill(folder: Path) -> None:
    """An index of random vectors, and the same vectors as the yardsticks want them."""
    import faiss
    from safetensors.numpy import load_file, save_file

    encoder = encoders.load("lite", device="cpu")
    rows = unit(np.random.default_rng(0).normal(size=(_NUM_SEGMENTS, encoder.identity.dimension)))
    with store.create(folder / "index", encoder.identity, Sampling()) as catalog:
        parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(100))
        with catalog.transaction() as writer:
            for start in range(0, _NUM_SEGMENTS, 100):
                embedding = store.Embedding(404.0, parts, tuple(range(100)), rows[start : start + 100])
                file = store.File(b"/videos", b"%06d.mp4" % start, 1, 1)
                writer.add_video(file, b"\0" * 32, embedding)
        catalog.rebuild()
    names = [f"/videos/{start // 100 * 100:06d}.mp4" for start in range(_NUM_SEGMENTS)]
    np.save(folder / "vectors.npy", rows)
    (folder / "names.txt").write_text("\n".join(names))
    with closing(sqlite3.connect(folder / "rclip.sqlite")) as database, database:
        database.execute("CREATE TABLE images (name TEXT, vector BLOB)")
        database.executemany(
            "INSERT INTO images VALUES (?, ?)", ((n, row.tobytes()) for n, row in zip(names, rows, strict=True))
        )
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    faiss.write_index(flat, str(folder / "index.faiss"))
    lite = load_file(Path(encoders.__file__).with_name("lite") / "model.safetensors")
    prefix = "text_tower."
    tower = {key.removeprefix(prefix): lite[key].astype(np.float32) for key in lite if key.startswith(prefix)}
    save_file(tower, folder / "tower.safetensors")


def _process(command: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    for row in rows():
        print(*row.cells(), sep=" | ")

"""The datasets that `cezsar benchmark` knows: one value each, from which choices, help and reading follow.

If the classes of one are official, it needs their list too, as query/benchmark/lists/NAME.json, and, for `--sentences
ours`, a sentence for each in query/sentences/NAME.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from cezsar.errors import BenchmarkError

CLIPS = "clips"  # by the names of clips on the official list
CLASSES = "classes"  # by folders that are called as the official classes are
FOLDERS = "folders"  # by sub-folders, each a class
PARAGRAPHS = "paragraphs"  # captions of whole videos
MOMENTS = "moments"  # captions of stretches


@dataclass(frozen=True, slots=True)
class OwnProtocol:
    """A protocol, or several, that one dataset has alone; as `--help` describes them."""

    names: tuple[str, ...]
    what: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A dataset: how its folder is read, what lies in it (for `--help`), and where its clips are (for an error).

    files are those that may hold its captions, the first that is there; protocol is what is asked if nobody chose.
    """

    name: str
    reading: str
    holds: str
    clips: str = ""
    files: tuple[str, ...] = ()
    protocol: str = "full"
    own: tuple[OwnProtocol, ...] = ()

    @property
    def is_retrieval(self) -> bool:
        """Whether captions are looked for, and not classes."""
        return self.reading in (PARAGRAPHS, MOMENTS)

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names of the protocols that it has alone."""
        return tuple(name for protocol in self.own for name in protocol.names)


DATASETS = {
    one.name: one
    for one in (
        Definition(
            name="ucf101",
            reading=CLIPS,
            holds="v_Class_g01_c01.avi, in folders or not: those on the official lists",
            clips="its clips are called v_Class_g01_c01.avi",
            own=(
                OwnProtocol(("split1", "split2", "split3"), "UCF-101's test lists, all classes"),
                OwnProtocol(("truze", "truze2"), "ucf101: 34 of 67/34, and 31 of 70/31"),
                OwnProtocol(("hard-cases", "semantic-gap"), "ucf101: 15 and 4, as published"),
            ),
        ),
        Definition(
            name="hmdb51",
            reading=CLASSES,
            holds="one folder per class, with the official names",
            clips="its clips lie in a folder for each class, as brush_hair/NAME.avi",
        ),
        Definition(
            name="kinetics400",
            reading=CLASSES,
            holds="one folder per class, with the official names",
            clips="its clips lie in a folder for each class, as 'air drumming' or air_drumming",
        ),
        Definition(
            name="kinetics-zsar",
            reading=CLASSES,
            holds="one folder per class: the 220 classes of K600 that K400 lacks",
            clips="its clips lie in a folder for each class, as 'acting in play' or acting_in_play",
            protocol="zsar",
            own=(OwnProtocol(("zsar",), "kinetics-zsar's three splits of 160"),),
        ),
        Definition(
            name="activitynet",
            reading=PARAGRAPHS,
            holds="val_1.json and the videos",
            files=("val_1.json", "val_2.json", "activitynet_captions_val_1.json"),
            own=(OwnProtocol(("moments",), "activitynet: each sentence for its own stretch"),),
        ),
        Definition(
            name="folder",
            reading=FOLDERS,
            holds="your own: one sub-folder per class",
            clips="its clips lie in a sub-folder for each class",
        ),
        Definition(
            name="pairs",
            reading=MOMENTS,
            holds="captions.jsonl of video, start_s, end_s, sentences; and the videos",
            files=("captions.jsonl",),
            own=(OwnProtocol(("kept-out:SHARE[:SEED]",), "pairs: those that cezsar train keeps out"),),
        ),
    )
}


def definition(name: str) -> Definition:
    """The dataset of this name. Raises BenchmarkError if there is none."""
    if name not in DATASETS:
        raise BenchmarkError(f"There is no dataset {name!r}. There are: {', '.join(DATASETS)}.")
    return DATASETS[name]

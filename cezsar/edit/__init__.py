"""Results that go into the edit: lists, timelines, playlists, tables and contact sheets of clips."""

from cezsar.edit.clips import Clip, Cut, timed
from cezsar.edit.exporting import MOST_CLIPS, MOST_PICTURES, Exported, exported, write
from cezsar.edit.playing import play
from cezsar.edit.sheet import WIDTH

__all__ = ["MOST_CLIPS", "MOST_PICTURES", "WIDTH", "Clip", "Cut", "Exported", "exported", "play", "timed", "write"]

"""Videos: frames in order at chosen times, and cutting; the only door to FFmpeg (through PyAV)."""

from cezsar.video.cut import cut
from cezsar.video.frames import FrameBatch, Video

__all__ = ["FrameBatch", "Video", "cut"]

"""Videos: frames in order at chosen times, and cutting; the only door to FFmpeg (through PyAV)."""

from cezsar.video.cut import cut
from cezsar.video.decoder import Decoder
from cezsar.video.frames import DECODER, FrameBatch, Video, can_decode

__all__ = ["DECODER", "Decoder", "FrameBatch", "Video", "can_decode", "cut"]

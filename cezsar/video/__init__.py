"""Videos: frames in order at chosen times, and cutting; the only door to FFmpeg (through PyAV)."""

from cezsar.video.browser import browser_part, media_type, still
from cezsar.video.cut import cut
from cezsar.video.decoder import Decoder
from cezsar.video.frames import DECODER, FrameBatch, Video, can_decode

__all__ = ["DECODER", "Decoder", "FrameBatch", "Video", "browser_part", "can_decode", "cut", "media_type", "still"]

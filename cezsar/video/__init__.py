"""Videos: frames in order at chosen times, and cutting; the only door to FFmpeg (through PyAV).

What opens a video in the process that calls it is for the modules of this room, whose decoders are processes of their
own; everybody else has a Pool of them.
"""

from cezsar.video.decoder import Decoder
from cezsar.video.frames import DECODER, FrameBatch, can_decode
from cezsar.video.pool import Pool, Reading

__all__ = ["DECODER", "Decoder", "FrameBatch", "Pool", "Reading", "can_decode"]

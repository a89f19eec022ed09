"""Videos: frames in order at chosen times, and cutting; the only door to FFmpeg (through PyAV).

Only the modules of this room open a video in their own process, since their decoders are processes of their own; all
other rooms use a Pool of decoders.
"""

from cezsar.video.decoder import Decoder
from cezsar.video.frames import DECODER, FrameBatch, can_decode
from cezsar.video.pool import Pool, Reading
from cezsar.video.timing import Timing

__all__ = ["DECODER", "Decoder", "FrameBatch", "Pool", "Reading", "Timing", "can_decode"]

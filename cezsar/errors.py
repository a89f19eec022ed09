"""Every error that CEZSAR raises on purpose.

CezsarError                 caught once, by the command line: one line, exit 1
├── SettingsError           a value out of its range
├── VideoError              a file that gives no frames; the text is the reason
│   └── VideoLost           out of reach, or changed under the reader: another try may go well
├── EncoderError            an encoder that is unknown, damaged or out of reach
├── PairsError              a file of captions that cannot be read
├── TrainingError           pairs that cannot be trained on, or a run that cannot go on
├── CalibrationError        captions that cannot calibrate an encoder, or a calibration that is damaged
├── QueryError              a question that cannot be answered as it was asked
│   └── NotIndexed          it names a segment or a video that the index does not hold
├── AddressError            addresses that cannot be read without another package
├── RunnerError             a cluster that cannot be worked on
├── BenchmarkError          a protocol that a folder, a list or a receipt does not allow
└── BadIndex             an index that cannot serve
    ├── LocationError       no place where an index can be
    ├── IndexMissing        no index there yet
    ├── IndexMismatch       made by another encoder or with another sampling
    ├── IndexOutdated       its schema is older or newer than this package
    ├── IndexDamaged        unreadable, or rows and vectors disagree
    ├── IndexReadOnly       it cannot be written, and has to be
    ├── IndexLocked         another process is writing to it
    ├── ServerLost          its database's server went away, or is out of reach
    └── CacheUnusable       the cache does not fit; the catalog serves without it
        └── CacheMissing    there is none yet
"""

from __future__ import annotations


class CezsarError(Exception):
    """An error that the user can mend; the text says what is wrong, with which value, and how to mend it."""


class SettingsError(CezsarError):
    """A value out of its range."""


class VideoError(CezsarError):
    """A file that gives no frames; the text is the reason, without the file's name."""


class VideoLost(VideoError):
    """A file that could not be read this time, for a reason that lies outside it."""


class EncoderError(CezsarError):
    """An encoder that is unknown, damaged or out of reach."""


class PairsError(CezsarError):
    """A file of captions that cannot be read."""


class TrainingError(CezsarError):
    """Pairs that cannot be trained on, or a run that cannot go on; what was saved stays."""


class CalibrationError(CezsarError):
    """Captions that cannot calibrate an encoder, or a calibration that cannot be read or written."""


class QueryError(CezsarError):
    """A question that cannot be answered as it was asked."""


class NotIndexed(QueryError):
    """A segment or a video that the index does not hold, or not any more."""


class AddressError(CezsarError):
    """Addresses that cannot be read without another package."""


class RunnerError(CezsarError):
    """A cluster that cannot be worked on; what was committed stays."""


class BenchmarkError(CezsarError):
    """A protocol that a folder, a list or a receipt does not allow."""


class BadIndex(CezsarError):
    """An index that cannot serve."""


class LocationError(BadIndex):
    """A location that is no folder's and no database's."""


class IndexMissing(BadIndex):
    """No index there yet."""


class IndexMismatch(BadIndex):
    """The index was made by another encoder or with another sampling."""


class IndexOutdated(BadIndex):
    """The catalog's schema is older or newer than this package's."""


class IndexDamaged(BadIndex):
    """The index cannot be read, or its rows and vectors disagree."""


class IndexReadOnly(BadIndex):
    """The index cannot be written, and has to be."""


class IndexLocked(BadIndex):
    """Another process is writing to it."""


class ServerLost(BadIndex):
    """The server of the index's database went away, or is out of reach."""


class CacheUnusable(BadIndex):
    """The cache does not fit its catalog; the text is the reason."""


class CacheMissing(CacheUnusable):
    """There is no cache yet, as during the first indexing run."""

"""The catalog's tables as of REVISION."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import UserDefinedType


class Vector(UserDefinedType[bytes]):
    """pgvector's type: the bytes of little-endian float32 go in, as SQLite keeps them."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name; it gets its dimension when an index is made."""
        return "vector"

    def bind_processor(self, dialect: Dialect) -> Callable[[bytes | None], object]:
        """What tells psycopg that bytes are a vector."""
        from cezsar.store.sql.packing import Packed

        return lambda data: None if data is None else Packed(data)


# SQLite's AUTOINCREMENT wants INTEGER, which has 64 bits there and 32 in PostgreSQL
_Id = Integer().with_variant(BigInteger(), "postgresql")
# a truth is 0 or 1 in both: hidden = 1 is no SQL for PostgreSQL's boolean
_Truth = Boolean().with_variant(SmallInteger(), "postgresql")
_Vector = LargeBinary().with_variant(Vector(), "postgresql")


class Base(DeclarativeBase):
    """The tables as of REVISION."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Float}


class InfoRow(Base):
    __tablename__ = "index_info"
    id: Mapped[int] = mapped_column(primary_key=True)
    index_id: Mapped[str] = mapped_column(String(32))
    encoder: Mapped[str]
    weights_sha256: Mapped[str] = mapped_column(String(64))
    dimension: Mapped[int]
    streams: Mapped[str]
    fps: Mapped[float]
    window_s: Mapped[float]
    stride_s: Mapped[float]
    generation: Mapped[int] = mapped_column(_Id)


class RootRow(Base):
    __tablename__ = "roots"
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    path: Mapped[bytes] = mapped_column(LargeBinary, unique=True)


class VideoRow(Base):
    """A video's file, as it was when it was read, and stream, the number of the video stream that was taken.

    It counts the file's video streams alone, from 0 (FFmpeg's v:N). recorded_s is when the file says that it was
    recorded, in seconds since 1970. inode, ctime_ns and stream are null in older rows, and so is recorded_s.
    """

    __tablename__ = "videos"
    __table_args__ = (
        UniqueConstraint("root_id", "path"),
        Index("ix_videos_hidden", "id", sqlite_where=text("hidden = 1"), postgresql_where=text("hidden = 1")),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    root_id: Mapped[int] = mapped_column(_Id, ForeignKey("roots.id"))
    path: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    content_sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    duration_s: Mapped[float]
    hidden: Mapped[int] = mapped_column(_Truth)
    inode: Mapped[int | None] = mapped_column(BigInteger)
    ctime_ns: Mapped[int | None] = mapped_column(BigInteger)
    stream: Mapped[int | None]
    recorded_s: Mapped[float | None]


class NameRow(Base):
    """A name on the way to a video below its root, its letters composed (NFC): a folder's, or the file's own."""

    __tablename__ = "names"
    __table_args__ = (Index("ix_names_name", "name", "video_id"),)
    video_id: Mapped[int] = mapped_column(_Id, ForeignKey("videos.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class SegmentRow(Base):
    """run numbers the stretches of near-identical neighbours within a video; ids are never used twice.

    best_s is the time of the frame that stands for the segment, if one was chosen. plain says whether it shows next
    to nothing, if that was looked at.
    """

    __tablename__ = "segments"
    __table_args__ = (
        Index("ix_segments_place", "video_id", "start_s", unique=True),
        Index("ix_segments_run", "video_id", "run", "start_s", "end_s"),
        Index("ix_segments_plain", "id", sqlite_where=text("plain = 1"), postgresql_where=text("plain = 1")),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    video_id: Mapped[int] = mapped_column(_Id, ForeignKey("videos.id", ondelete="CASCADE"))
    start_s: Mapped[float]
    end_s: Mapped[float]
    run: Mapped[int]
    vector: Mapped[bytes] = mapped_column(_Vector)
    best_s: Mapped[float | None]
    plain: Mapped[int | None] = mapped_column(_Truth)


class OutlineRow(Base):
    """A video's shots and the fingerprints of its seconds, as cezsar.store.outline packs them."""

    __tablename__ = "outlines"
    video_id: Mapped[int] = mapped_column(_Id, ForeignKey("videos.id", ondelete="CASCADE"), primary_key=True)
    shots: Mapped[bytes] = mapped_column(LargeBinary)
    fingerprints: Mapped[bytes] = mapped_column(LargeBinary)


class DeletedSegmentRow(Base):
    """A deleted segment and the generation of its deletion: an older cache has to leave it out."""

    __tablename__ = "deleted_segments"
    segment_id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(_Id, index=True)


class FailureRow(Base):
    """A file that could not be decoded; it is tried again when the file or the decoder has changed."""

    __tablename__ = "failures"
    path: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    decoder: Mapped[str]
    reason: Mapped[str]
    inode: Mapped[int | None] = mapped_column(BigInteger)
    ctime_ns: Mapped[int | None] = mapped_column(BigInteger)


class CalibrationRow(Base):
    """The index's own calibration, as a JSON document, and the generation in which it was kept; one row, of id 1."""

    __tablename__ = "calibrations"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(_Id)
    document: Mapped[bytes] = mapped_column(LargeBinary)

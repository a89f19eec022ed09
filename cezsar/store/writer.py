"""Changing a catalog, with SQLAlchemy, the same for every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, insert, literal, select, update
from sqlalchemy.orm import Session

from cezsar.paths import names
from cezsar.store.outline import packed
from cezsar.store.statements import chunks
from cezsar.store.tables import (
    CalibrationRow,
    DeletedSegmentRow,
    FailureRow,
    InfoRow,
    NameRow,
    OutlineRow,
    RootRow,
    SegmentRow,
    VideoRow,
)
from cezsar.store.words import Embedding, Failure, File


class Writer:
    """One transaction, from Catalog.write(), with a generation of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next_generation()

    def _next_generation(self) -> None:
        """Count one more change."""
        self._session.execute(update(InfoRow).values(generation=InfoRow.generation + 1))

    def add_video(self, file: File, content_sha256: bytes, embedding: Embedding) -> int:
        """Add a video with its segments and vectors; returns its id."""
        self.forget_failures([file.absolute])
        row = VideoRow(
            root_id=self._root_id(file.root),
            path=file.path,
            size=file.size,
            mtime_ns=file.mtime_ns,
            inode=file.inode,
            ctime_ns=file.ctime_ns,
            content_sha256=content_sha256,
            duration_s=embedding.duration_s,
            hidden=0,
            stream=embedding.stream,
            recorded_s=embedding.recorded_s,
        )
        self._session.add(row)
        self._session.flush()
        self._add_names(row.id, file)
        self._add_segments(row.id, embedding)
        return row.id

    def replace_video(self, video_id: int, file: File, content_sha256: bytes, embedding: Embedding) -> None:
        """Give a video whose content has changed its new segments and vectors, under new ids."""
        self._delete_segments([video_id])
        values = {
            "content_sha256": content_sha256,
            "duration_s": embedding.duration_s,
            "stream": embedding.stream,
            "recorded_s": embedding.recorded_s,
        }
        self._session.execute(update(VideoRow).where(VideoRow.id == video_id).values(values))
        self.place_video(video_id, file)
        self._add_segments(video_id, embedding)

    def place_video(self, video_id: int, file: File) -> None:
        """Say where a video is now and what its file looks like; a hidden one comes back."""
        self.forget_failures([file.absolute])
        values = {
            "root_id": self._root_id(file.root),
            "path": file.path,
            "size": file.size,
            "mtime_ns": file.mtime_ns,
            "inode": file.inode,
            "ctime_ns": file.ctime_ns,
            "hidden": 0,
        }
        self._session.execute(update(VideoRow).where(VideoRow.id == video_id).values(values))
        self._session.execute(delete(NameRow).where(NameRow.video_id == video_id))
        self._add_names(video_id, file)

    def note_files(self, files: Sequence[tuple[int, File]]) -> None:
        """Keep the inode and ctime of videos whose files are as they were, by their ids."""
        rows = [{"id": number, "inode": file.inode, "ctime_ns": file.ctime_ns} for number, file in files]
        if rows:
            self._session.execute(update(VideoRow), rows)

    def note_failure(self, failure: Failure) -> None:
        """Remember that a file could not be decoded."""
        self.forget_failures([failure.path])
        self._session.execute(insert(FailureRow).values(**asdict(failure)))

    def forget_failures(self, paths: Sequence[bytes]) -> None:
        """Remove these files from the failures."""
        for path in paths:
            self._session.execute(delete(FailureRow).where(FailureRow.path == path))

    def hide_videos(self, video_ids: Sequence[int]) -> None:
        """Leave these videos out of every answer, and keep their vectors."""
        for some in chunks(video_ids):
            self._session.execute(update(VideoRow).where(VideoRow.id.in_(some)).values(hidden=1))

    def purge_videos(self, video_ids: Sequence[int]) -> None:
        """Delete these videos for good, with their segments and vectors, and the folders that hold no video any
        more."""
        self._delete_segments(video_ids)
        for some in chunks(video_ids):
            self._session.execute(delete(NameRow).where(NameRow.video_id.in_(some)))
            self._session.execute(delete(VideoRow).where(VideoRow.id.in_(some)))
        self._session.execute(delete(RootRow).where(RootRow.id.not_in(select(VideoRow.root_id))))

    def keep_calibration(self, document: bytes) -> None:
        """Keep the index's own calibration, in the place of one of before."""
        now = self._session.scalars(select(InfoRow.generation)).one()
        self._session.execute(delete(CalibrationRow))
        self._session.execute(insert(CalibrationRow).values(id=1, generation=now, document=document))

    def _root_id(self, path: bytes) -> int:
        found = self._session.scalars(select(RootRow.id).where(RootRow.path == path)).one_or_none()
        if found is not None:
            return found
        row = RootRow(path=path)
        self._session.add(row)
        self._session.flush()
        return row.id

    def _add_names(self, video_id: int, file: File) -> None:
        rows = [{"video_id": video_id, "name": name} for name in names(file.path)]
        self._session.execute(insert(NameRow), rows)

    def _add_segments(self, video_id: int, embedding: Embedding) -> None:
        vectors = (vector.astype("<f4").tobytes() for vector in embedding.vectors)
        best_s = embedding.best_s or (None,) * len(embedding.segments)
        plain = embedding.plain or (None,) * len(embedding.segments)
        rows = [
            {
                "video_id": video_id,
                "start_s": segment.start_s,
                "end_s": segment.end_s,
                "run": run,
                "vector": vector,
                "best_s": best,
                "plain": None if is_plain is None else int(is_plain),
            }
            for segment, run, vector, best, is_plain in zip(
                embedding.segments, embedding.runs, vectors, best_s, plain, strict=True
            )
        ]
        if rows:
            self._session.execute(insert(SegmentRow), rows)
        if embedding.outline is not None:
            shots, fingerprints = packed(embedding.outline)
            values = {"video_id": video_id, "shots": shots, "fingerprints": fingerprints}
            self._session.execute(insert(OutlineRow).values(values))

    def _delete_segments(self, video_ids: Sequence[int]) -> None:
        now = self._session.scalars(select(InfoRow.generation)).one()
        for some in chunks(video_ids):
            gone = select(SegmentRow.id, literal(now)).where(SegmentRow.video_id.in_(some))
            self._session.execute(insert(DeletedSegmentRow).from_select(["segment_id", "generation"], gone))
            self._session.execute(delete(SegmentRow).where(SegmentRow.video_id.in_(some)))
            self._session.execute(delete(OutlineRow).where(OutlineRow.video_id.in_(some)))

"""What can be changed in the catalog, each inside a Catalog.write()."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, insert, literal, select, update
from sqlalchemy.orm import Session

from cezsar.catalog.connection import chunks
from cezsar.catalog.outline import packed
from cezsar.catalog.reading import Embedding, Failure, File
from cezsar.catalog.tables import DeletedSegmentRow, FailureRow, InfoRow, OutlineRow, RootRow, SegmentRow, VideoRow


def next_generation(session: Session) -> None:
    """Count one more change."""
    session.execute(update(InfoRow).values(generation=InfoRow.generation + 1))


def add_video(session: Session, file: File, content_sha256: bytes, embedding: Embedding) -> int:
    """Add a video with its segments and vectors; returns its id."""
    forget_failures(session, [file.absolute])
    row = VideoRow(
        root_id=_root_id(session, file.root),
        path=file.path,
        size=file.size,
        mtime_ns=file.mtime_ns,
        inode=file.inode,
        ctime_ns=file.ctime_ns,
        content_sha256=content_sha256,
        duration_s=embedding.duration_s,
        hidden=False,
        stream=embedding.stream,
    )
    session.add(row)
    session.flush()
    _add_segments(session, row.id, embedding)
    return row.id


def replace_video(session: Session, video_id: int, file: File, content_sha256: bytes, embedding: Embedding) -> None:
    """Give a video whose content has changed its new segments and vectors, under new ids."""
    _delete_segments(session, [video_id])
    values = {"content_sha256": content_sha256, "duration_s": embedding.duration_s, "stream": embedding.stream}
    session.execute(update(VideoRow).where(VideoRow.id == video_id).values(values))
    place_video(session, video_id, file)
    _add_segments(session, video_id, embedding)


def place_video(session: Session, video_id: int, file: File) -> None:
    """Say where a video is now and what its file looks like; a hidden one comes back."""
    forget_failures(session, [file.absolute])
    values = {
        "root_id": _root_id(session, file.root),
        "path": file.path,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "inode": file.inode,
        "ctime_ns": file.ctime_ns,
        "hidden": False,
    }
    session.execute(update(VideoRow).where(VideoRow.id == video_id).values(values))


def note_files(session: Session, files: Sequence[tuple[int, File]]) -> None:
    """Keep the inode and ctime of videos whose files are as they were, by their ids."""
    rows = [{"id": number, "inode": file.inode, "ctime_ns": file.ctime_ns} for number, file in files]
    if rows:
        session.execute(update(VideoRow), rows)


def note_failure(session: Session, failure: Failure) -> None:
    """Remember that a file could not be decoded."""
    forget_failures(session, [failure.path])
    session.execute(insert(FailureRow).values(**asdict(failure)))


def forget_failures(session: Session, paths: Sequence[bytes]) -> None:
    """Whatever became of these files, they are no failures any more."""
    for path in paths:
        session.execute(delete(FailureRow).where(FailureRow.path == path))


def hide_videos(session: Session, video_ids: Sequence[int]) -> None:
    """Leave these videos out of every answer, and keep their vectors."""
    for some in chunks(video_ids):
        session.execute(update(VideoRow).where(VideoRow.id.in_(some)).values(hidden=True))


def purge_videos(session: Session, video_ids: Sequence[int]) -> None:
    """Delete these videos for good, with their segments and vectors, and folders that no video is in any more."""
    _delete_segments(session, video_ids)
    for some in chunks(video_ids):
        session.execute(delete(VideoRow).where(VideoRow.id.in_(some)))
    session.execute(delete(RootRow).where(RootRow.id.not_in(select(VideoRow.root_id))))


def _root_id(session: Session, path: bytes) -> int:
    found = session.scalars(select(RootRow.id).where(RootRow.path == path)).one_or_none()
    if found is not None:
        return found
    row = RootRow(path=path)
    session.add(row)
    session.flush()
    return row.id


def _add_segments(session: Session, video_id: int, embedding: Embedding) -> None:
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
            "plain": is_plain,
        }
        for segment, run, vector, best, is_plain in zip(
            embedding.segments, embedding.runs, vectors, best_s, plain, strict=True
        )
    ]
    if rows:
        session.execute(insert(SegmentRow), rows)
    if embedding.outline is not None:
        shots, fingerprints = packed(embedding.outline)
        values = {"video_id": video_id, "shots": shots, "fingerprints": fingerprints}
        session.execute(insert(OutlineRow).values(values))


def _delete_segments(session: Session, video_ids: Sequence[int]) -> None:
    now = session.scalars(select(InfoRow.generation)).one()
    for some in chunks(video_ids):
        gone = select(SegmentRow.id, literal(now)).where(SegmentRow.video_id.in_(some))
        session.execute(insert(DeletedSegmentRow).from_select(["segment_id", "generation"], gone))
        session.execute(delete(SegmentRow).where(SegmentRow.video_id.in_(some)))
        session.execute(delete(OutlineRow).where(OutlineRow.video_id.in_(some)))

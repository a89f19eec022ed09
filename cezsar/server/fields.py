"""Videos, folders and segments as answers have them, and what is answered if there are none."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.exceptions import HTTPException

from cezsar import answers, store
from cezsar.paths import path_fields


def shown(rows: store.Rows, video_id: int) -> store.Video:
    """The visible video of this id, or 404."""
    found = rows.video(video_id)
    if found is None:
        raise no_video(video_id)
    return found


def no_video(video_id: int) -> HTTPException:
    return HTTPException(404, f"There is no video {video_id}.")


def no_segment(segment_id: int) -> HTTPException:
    return HTTPException(404, f"There is no segment {segment_id}.")


def segment_fields(found: store.Part) -> answers.SegmentAnswer:
    return {"segment_id": found.id, "start_s": found.start_s, "end_s": found.end_s}


def video_fields(video: store.Video) -> answers.VideoAnswer:
    return {"video_id": video.id, **path_fields(video.file.full_path), "duration_s": video.duration_s}


def face_fields(rows: store.Rows, video: store.Video) -> answers.FaceAnswer:
    face = rows.face(video)
    return {**video_fields(video), "when_s": video.when_s, "segment_id": None if face is None else face.id}


def folder_fields(rows: store.Rows, folder: store.VideoFolder) -> answers.FolderAnswer:
    latest = rows.video(folder.latest_id)
    face = None if latest is None else rows.face(latest)
    name = path_fields(Path(os.fsdecode(folder.path)))
    return {**name, "videos": folder.num_videos, "segment_id": None if face is None else face.id}

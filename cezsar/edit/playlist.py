"""Playlists whose entries begin and end where the clips do: one that VLC obeys, and one that mpv does.

VLC reads options before an entry, which mpv passes over; mpv reads entries of its own kind (edl://), which VLC cannot
play. Files are named by URIs, so that any character of a path can be said on one line of ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence

from cezsar.edit.clips import Clip


def vlc(clips: Sequence[Clip]) -> str:
    """An extended M3U with start and stop times in seconds."""
    lines = ["#EXTM3U"]
    for clip in clips:
        lines.append(_titled(clip))
        lines.append(f"#EXTVLCOPT:start-time={_seconds(clip.start_s)}")
        lines.append(f"#EXTVLCOPT:stop-time={_seconds(clip.end_s)}")
        lines.append(clip.path.as_uri())
    return "\n".join(lines) + "\n"


def mpv(clips: Sequence[Clip]) -> str:
    """An extended M3U of mpv's own addresses: file, start and length in seconds."""
    lines = ["#EXTM3U"]
    for clip in clips:
        address = clip.path.as_uri()
        lines.append(_titled(clip))
        lines.append(f"edl://%{len(address)}%{address},{_seconds(clip.start_s)},{_seconds(clip.end_s - clip.start_s)}")
    return "\n".join(lines) + "\n"


def _titled(clip: Clip) -> str:
    title = clip.name + (f": {clip.remark}" if clip.remark else "")
    return f"#EXTINF:{max(1, round(clip.end_s - clip.start_s))},{title}"


def _seconds(time_s: float) -> str:
    return f"{time_s:.6f}"

"""The searches as tools for agents, by the Model Context Protocol, over stdin and stdout."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from cezsar import __version__, edit, store
from cezsar.choices import ListFormat
from cezsar.documents import labels_document, predictions_document, query_document
from cezsar.errors import CezsarError
from cezsar.paths import readable
from cezsar.query import Filters, classify_videos, encoded
from cezsar.query.basket import Pick, picked
from cezsar.server.api import Collected
from cezsar.server.engine import Engine
from cezsar.server.exports import clips_as
from cezsar.server.media import Media, Still
from cezsar.settings import Settings

_INSTRUCTIONS = (
    "Searches the videos on this machine by what happens in them. search finds moments; thumbnail shows one of them; "
    "classify compares whole videos with labels. Times are seconds from the start of a file. If nothing_like_it is "
    "true, not even the best moment is likely to show the text."
)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)

Words = Annotated[str, Field(min_length=1, max_length=1_000)]
_P = ParamSpec("_P")
_R = TypeVar("_R")


def serve(settings: Settings, *, export_to: Path | None) -> None:
    """Answer an agent on stdin and stdout until stdin ends; only with export_to anything is written, and only there.

    Raises BadIndex and EncoderError if the index cannot be searched.
    """
    with (
        Engine(settings.index, device=settings.device) as engine,
        Media(store.home(settings.index).files()) as media,
    ):
        tools(engine, media, export_to=export_to).run("stdio")


def tools(engine: Engine, media: Media, *, export_to: Path | None) -> MCPServer:
    """The tools over an open index and its media."""
    server: MCPServer = MCPServer("cezsar", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING")

    @server.tool(annotations=_READS, structured_output=False)
    @_told
    def search(
        text: Words,
        k: Annotated[int, Field(ge=1, le=100, description="Number of moments.")] = 10,
        without: Annotated[list[Words], Field(max_length=8, description="Turn away from what these say.")] = [],  # noqa: B006
        path: Annotated[
            str | None, Field(max_length=1_000, description="Only videos that this path or glob names.")
        ] = None,
        per_video: Annotated[int, Field(ge=0, description="Moments per video; 0 for all.")] = 1,
    ) -> dict[str, Any]:
        """The moments of the videos that show a text, best first, each with path, start_s, end_s and segment_id."""
        filters = Filters(top_k=k, per_video=per_video, path=path)
        with engine.using() as searcher:
            hits = searcher.search(text, without=without, filters=filters)
            return dict(query_document(text, searcher.info.encoder.name, hits))

    @server.tool(annotations=_READS, structured_output=False)
    @_told
    def classify(
        paths: Annotated[list[str], Field(min_length=1, max_length=100, description="Videos of the index.")],
        labels: Annotated[list[Words], Field(min_length=1, max_length=200)],
        k: Annotated[int, Field(ge=1, le=200, description="Labels per video.")] = 5,
    ) -> dict[str, Any]:
        """The nearest labels of videos of the index, best first; other files are refused."""
        words: dict[str, tuple[str, ...]] = {label: (label,) for label in labels}
        with engine.using() as searcher:
            with searcher.read() as rows:
                numbers = [_video(rows, path) for path in paths]
            found = dict(classify_videos(searcher, numbers, words, top_k=k, timeline=False, raw=False))
            videos = [predictions_document(one, timeline=False) for number in numbers if (one := found[number])]
            return {**labels_document(searcher.info.encoder.name, encoded(words, raw=False)), "videos": videos}

    @server.tool(annotations=_READS, structured_output=False)
    @_told
    def thumbnail(segment_id: Annotated[int, Field(ge=1, le=1 << 62)]) -> Image:
        """A picture of a moment, as JPEG: the frame that is most like the whole segment."""
        with engine.using() as searcher, searcher.read() as rows:
            part = rows.part(segment_id)
            ((video, clip),) = picked(rows, [Pick(segment_id=segment_id)])
        time_s = None if part is None else part.best_s
        wanted = Still((clip.start_s + clip.end_s) / 2 if time_s is None else time_s)
        return Image(data=media.picture(video, wanted), format="jpeg")

    if export_to is not None:

        @server.tool(annotations=_WRITES, structured_output=False)
        @_told
        def export(
            hits: Annotated[list[Collected], Field(min_length=1, max_length=edit.MOST_CLIPS)],
            format: ListFormat,  # noqa: A002
            title: Annotated[str, Field(max_length=1_000)] = "cezsar",
        ) -> dict[str, Any]:
            """Write moments, in this order, as a list for editors, players or people; answers the files' paths."""
            with engine.using() as searcher, searcher.read() as rows:
                picks = picked(rows, [Pick(**hit.model_dump()) for hit in hits])
            made = clips_as(format, picks, media, title=title)
            edit.write(made, export_to)
            files = [readable(export_to.resolve() / name) for name in made.files]
            return {"files": files, "notices": list(made.notices)}

    return server


def _told(tool: Callable[_P, _R]) -> Callable[_P, _R]:
    """A tool whose errors, if they are ours, are told to the agent in one line."""

    @wraps(tool)
    def told(*arguments: _P.args, **options: _P.kwargs) -> _R:
        try:
            return tool(*arguments, **options)
        except CezsarError as error:
            raise ToolError(readable(str(error))) from None

    return told


def _video(rows: store.Rows, path: str) -> int:
    ((video, _),) = picked(rows, [Pick(path=path, start_s=0.0, end_s=1e9)])
    return video.id

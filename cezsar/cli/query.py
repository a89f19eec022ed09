"""cezsar query"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cezsar.choices import EXPORTS, QUERY_FORMATS
from cezsar.cli.console import (
    PathType,
    clock,
    counted,
    device_option,
    index_option,
    is_terminal,
    json_option,
    notice,
    print_json,
    print_table,
    short,
    write_bytes,
)
from cezsar.errors import CezsarError, QueryError, VideoError
from cezsar.paths import path_fields, readable, spelled

if TYPE_CHECKING:
    from cezsar.answers import UnderstoodAnswer
    from cezsar.location import Location
    from cezsar.query import Filters, Question, Searcher
    from cezsar.query.search import Nothing
    from cezsar.types import Hit, Hits, Limits, Segment, Vectors
    from cezsar.video import Pool

_RANGE = re.compile(r"(?P<path>.+)@(?P<start>[\d:.]+)-(?P<end>[\d:.]+)", re.DOTALL)
_COLUMNS = (
    "query", "rank", "score", "path", "start_s", "end_s", "segment_id", "path_bytes", "confidence", "nothing_like_it",
    "copies", "parts",
)  # fmt: skip


@click.command(name="query")
@click.argument("words", metavar="[TEXT]", nargs=-1)
@index_option
@click.option("-k", "--top-k", type=click.IntRange(min=1), default=10, show_default=True, help="Number of hits.")
@click.option("--min-score", type=float, metavar="X", help="Only hits of at least this score, in -1 to 1.")
@click.option(
    "--per-video", type=click.IntRange(min=0), default=1, show_default=True, help="Hits per video; 0 for all."
)
@click.option("--path", "glob", metavar="GLOB", help="Only videos whose path, file name or a folder's name matches.")
@click.option("--not-path", "not_globs", metavar="GLOB", multiple=True, help="No video that this names. Repeatable.")
@click.option("--since", metavar="DATE", help="Only videos recorded on this date or later.")
@click.option("--until", metavar="DATE", help="Only videos recorded on this date or before.")
@click.option("--min-length", metavar="S", help="Only videos that last so long: seconds, or m:ss.")
@click.option("--max-length", metavar="S", help="Only videos that last no longer: seconds, or m:ss.")
@click.option("--not", "without", metavar="TEXT", multiple=True, help="Turn away from what this says. Repeatable.")
@click.option("--literal", is_flag=True, help='Take "not", "no" and "without" as words, not as --not.')
@click.option("--then", metavar="TEXT", multiple=True, help="What comes after that in the same video. Repeatable.")
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    metavar="S",
    help="Seconds that may lie between two parts of --then.  [default: 60]",
)
@click.option("--like", metavar="VIDEO[@START-END]|IMAGE", help="Find what looks like this.")
@click.option(
    "--more", metavar="ID", type=click.IntRange(min=1), multiple=True, help="A segment that is right. Repeatable."
)
@click.option(
    "--less", metavar="ID", type=click.IntRange(min=1), multiple=True, help="A segment that is wrong. Repeatable."
)
@click.option("--all-copies", is_flag=True, help="Give near-identical hits of different files one by one.")
@click.option("--exact", is_flag=True, help="Compare every vector; without it a very large index may miss a few hits.")
@click.option("--any", "anything", is_flag=True, help="Give the nearest hits, even if nothing is like TEXT.")
@click.option("--format", "form", type=click.Choice(QUERY_FORMATS), default="table", show_default=True)
@json_option
@click.option(
    "--export",
    metavar="DIR",
    type=PathType(file_okay=False, path_type=Path),
    help="Cut each hit to a file in DIR; a file of the same name is replaced.",
)
@click.option(
    "--as", "export_as", type=click.Choice(EXPORTS), default="clips", show_default=True,
    help="What --export writes: clips, or all hits as one list, for an editor, a player or a table.",
)  # fmt: skip
@click.option(
    "--play", "play_rank", metavar="N", type=click.IntRange(min=1), help="Open hit N at its second, in mpv or else VLC."
)
@device_option
def command(
    words: tuple[str, ...],
    index: Location | None,
    top_k: int,
    min_score: float | None,
    per_video: int,
    glob: str | None,
    not_globs: tuple[str, ...],
    since: str | None,
    until: str | None,
    min_length: str | None,
    max_length: str | None,
    without: tuple[str, ...],
    literal: bool,
    then: tuple[str, ...],
    within_s: float | None,
    like: str | None,
    more: tuple[int, ...],
    less: tuple[int, ...],
    all_copies: bool,
    exact: bool,
    anything: bool,
    form: str,
    as_json: bool,
    export: Path | None,
    export_as: str,
    play_rank: int | None,
    device: str | None,
) -> None:
    """Find the moments that show TEXT, best first; TEXT - reads standard input, one query per line.

    The score is the cosine similarity of a moment and the text: it ranks. The confidence says how likely a person would
    say that the moment shows the text. If not even the best hit is likely enough, the table says "Nothing like it"
    above the nearest, and --format paths and --export give none; --any gives them all the same. Times for --like are
    seconds or m:ss, as in --like trip.mp4@1:20-1:30.
    """
    from cezsar import encoders
    from cezsar.query import Filters, Searcher, asked, dates, negation
    from cezsar.settings import load

    if len(words) > 1:
        notice(f"the text needs quotes around it: cezsar query {shlex.quote(' '.join(words))}")
        raise click.exceptions.Exit(2)
    text = words[0] if words else None
    settings = load(index=index, device=device)
    if like == "":
        raise click.UsageError("--like needs a video, or a picture.")
    if text is None and like is None:
        before = " before --then" if then else ""
        raise click.UsageError(f"Give a TEXT to look for{before}, or a video with --like.")
    if within_s is not None and not then:
        raise click.UsageError("--within needs --then: it says how much time may lie before what comes then.")
    if export_as != "clips" and export is None:
        raise click.UsageError("--as needs --export DIR.")
    if play_rank is not None and text == "-":
        raise click.UsageError("--play takes one TEXT, not standard input.")
    form = "json" if as_json else form
    filters = Filters(
        top_k=top_k,
        min_score=min_score,
        per_video=per_video,
        path=glob,
        all_copies=all_copies,
        not_paths=not_globs,
        min_length_s=_length("--min-length", min_length),
        max_length_s=_length("--max-length", max_length),
        since_s=None if since is None else dates.began(since),
        until_s=None if until is None else dates.ended(until),
    )
    with ExitStack() as stack:
        searcher = stack.enter_context(Searcher(settings.index, device=settings.device))
        if older := encoders.older(searcher.info.encoder):
            notice(older)
        examples = [] if like is None else [_example(searcher, like, settings.limits)]
        right, wrong = (searcher.vectors_of(ids) for ids in (more, less))
        pool = stack.enter_context(_pool(settings.limits)) if export else None
        texts = _lines() if text == "-" else [text]
        if form == "csv":
            click.echo(_csv_line(_COLUMNS))
        for number, line in enumerate(texts, start=1):
            (first, *after), otherwise = negation.read([line, *then], literal=literal)
            question = asked(
                first,
                without=without,
                like=examples,
                then=after,
                within_s=within_s or 60.0,
                more=right,
                less=wrong,
            )
            hits = searcher.answer(question, filters=filters, exact=exact)
            for said in (searcher.notice, searcher.calibration_notice) if number == 1 else ():
                if said:
                    notice(said)
            for read in ([] if line is None else [line]) + ([*without, *then] if number == 1 else []):
                if cut := searcher.unread(read):
                    notice(cut)
            if form != "json":
                for one in otherwise:
                    notice(f"understood as: {one}; --literal takes the words as they are")
            documents = [one.document() for one in otherwise]
            _print(line, searcher, hits, form, documents, is_batch=text == "-", anything=anything)
            if not hits and form == "table":
                why = searcher.nothing(question, filters=filters, exact=exact)
                notice("no hits" + ("" if line is None else f" for {line!r}") + _reason(why, question, filters))
            if hits.nothing_like_it and not anything and (form == "paths" or export):
                notice("nothing like it" + ("" if line is None else f": {line!r}") + "; --any gives the nearest")
            elif export and pool:
                prefix = f"{number:03d}-" if text == "-" else ""
                if export_as == "clips":
                    _export(hits, export, pool, prefix=prefix)
                else:
                    _export_list(hits, export, pool, form=export_as, title=line or "", prefix=prefix)
            if play_rank is not None:
                _play(hits, play_rank)


def _lines() -> Iterator[str]:
    """The queries on standard input; lines on which nothing is visible are none, and one that is too long is named."""
    from cezsar.query.prompts import visible
    from cezsar.query.question import MOST_CHARACTERS

    num_queries = num_lines = 0
    most = 4 * MOST_CHARACTERS + 1_000  # bytes: UTF-8 takes four a character at most, and there may be blanks
    while raw := sys.stdin.buffer.readline(most) if sys.stdin else b"":
        num_lines += 1
        rest = raw
        while len(rest) == most and not rest.endswith(b"\n"):  # it is passed by, not kept
            rest = sys.stdin.buffer.readline(most)
        line = raw.decode("utf-8", errors="replace").strip().removeprefix("\ufeff")
        if rest is not raw or len(line) > MOST_CHARACTERS:
            notice(f"line {num_lines} has more than {MOST_CHARACTERS:,} characters: it is left out")
        elif visible(line).strip():
            num_queries += 1
            yield line
    if num_queries == 0:
        raise QueryError("There are no queries on standard input: give one per line.")


def _print(
    text: str | None,
    searcher: Searcher,
    hits: Hits,
    form: str,
    understood: Sequence[UnderstoodAnswer],
    *,
    is_batch: bool,
    anything: bool,
) -> None:
    if form == "json":
        from cezsar.documents import query_document

        document = query_document(text, searcher.info.encoder.name, hits, understood=understood)
        print_json(document, indent=None if is_batch else 1)
    elif form == "csv":
        from cezsar.documents import parts_document

        for hit in hits:
            path = path_fields(hit.path)
            row = (text or "", hit.rank, hit.score, path["path"], hit.start_s, hit.end_s, hit.segment_id)
            copies = json.dumps([path_fields(copy)["path"] for copy in hit.copies]) if hit.copies else ""
            likely = "" if hit.confidence is None else hit.confidence
            nothing = str(hits.nothing_like_it).lower()
            parts = json.dumps(parts_document(hit)) if hit.parts else ""
            click.echo(_csv_line((*row, path.get("path_bytes", ""), likely, nothing, copies, parts)))
    elif form == "paths":
        for hit in hits if anything or not hits.nothing_like_it else ():
            name = readable(hit.path).encode() if is_terminal() else os.fsencode(spelled(hit.path))
            write_bytes(name + b"\n")
    else:
        if is_batch:
            click.echo(readable(text or ""))
        if hits.nothing_like_it and not anything:
            click.echo("Nothing like it; the nearest are:")
        _print_table(hits)


def _print_table(hits: Hits) -> None:
    from cezsar.tables import Column, Table

    columns = (*(Column(title, is_number=True) for title in ("#", "score", "confidence", "time")), Column("video"))
    rows: list[tuple[str, ...]] = []
    for hit in hits:
        confidence = "" if hits.threshold is None else f"{hit.confidence:.2f}"
        time = f"{clock(hit.start_s)}-{clock(hit.end_s)}"
        rows.append((str(hit.rank), f"{hit.score:.3f}", confidence, time, _named(hit)))
        for part in hit.parts:
            what = "the example" if part.text is None else part.text
            rows.append(("", f"{part.score:.3f}", "", f"{clock(part.start_s)}-{clock(part.end_s)}", f"  {what}"))
    if rows:
        print_table(Table(columns, tuple(rows)).without_empty("confidence"))


def _named(hit: Hit) -> str:
    """A hit's path, and in how many other files the same was found."""
    if not hit.copies:
        return short(hit.path)
    return f"{short(hit.path)} (and {counted(len(hit.copies), 'other file')})"


def _reason(why: Nothing, question: Question, filters: Filters) -> str:
    """What comes after 'no hits'."""
    from cezsar.store import Where

    if why.num_videos == 0:
        return ": the index holds no videos"
    is_path = filters.where() == Where(filters.path)
    if why.num_named == 0 and is_path:
        return f": --path {filters.path} names none of {counted(why.num_videos, 'video')}"
    if why.num_named == 0:
        return f": the filters allow none of {counted(why.num_videos, 'video')}"
    allowed = f"--path {filters.path} names" if is_path else "the filters allow"
    where = f" among {counted(why.num_named, 'video')} that {allowed}" if filters.where().names_videos else ""
    if filters.min_score is not None and why.best_score is not None:
        return f": the best score{where} is {why.best_score:.3f}, below --min-score {filters.min_score:g}"
    if question.then:
        return f"{where}: no video is long enough to show one part after the other within {question.within_s:g} s"
    return where


def _csv_line(values: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(values)
    return readable(out.getvalue()) if is_terminal() else out.getvalue()


def _example(searcher: Searcher, spec: str, limits: Limits) -> Vectors:
    """The vector of VIDEO[@START-END]: the index's own if it holds the video, else embedded now."""
    from cezsar import indexer
    from cezsar.query import mean_vector

    path, segment = _parse_example(spec)
    found = searcher.like(path, segment)
    if found is not None:
        return found
    try:
        with _pool(limits) as pool:
            made = indexer.embed(path, searcher.encoder, searcher.info.sampling, pool=pool)
    except VideoError as error:
        raise QueryError(f"--like {path}: {error}.") from None
    return mean_vector(made.segments, made.vectors, segment, path)


def _parse_example(spec: str) -> tuple[Path, Segment | None]:
    from cezsar.types import Segment

    match = _RANGE.fullmatch(spec)
    if match is None or os.path.exists(spec):
        return Path(spec), None
    try:
        start_s, end_s = (_seconds(match[side]) for side in ("start", "end"))
    except ValueError:
        raise click.UsageError(f"{spec!r}: START and END are seconds or m:ss.") from None
    if end_s <= start_s:
        raise click.UsageError(f"{spec!r}: END must come after START.")
    return Path(match["path"]), Segment(start_s, end_s)


def _length(option: str, text: str | None) -> float | None:
    try:
        return None if text is None else _seconds(text)
    except ValueError:
        raise click.UsageError(f"{option} {text!r}: a length is in seconds or m:ss.") from None


def _seconds(text: str) -> float:
    """'80', '1:20' or '0:01:20.5' in seconds."""
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def _pool(limits: Limits) -> Pool:
    from cezsar.video import Pool

    return Pool(limits)


def _export(hits: Sequence[Hit], folder: Path, pool: Pool, *, prefix: str) -> None:
    """Cut each hit to a file of its own; a hit whose video cannot be cut is named, and fatal only if all are."""
    from cezsar import edit
    from cezsar.types import Segment

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CezsarError(f"{folder} cannot be made: {error.strerror}.") from None
    num_cut = 0
    for hit in hits:
        target = folder / (prefix + edit.Clip(hit.path, hit.start_s, hit.end_s).file_name(hit.rank))
        try:
            with pool.decoder() as decoder:
                decoder.cut(hit.path, Segment(hit.start_s, hit.end_s), target)
        except VideoError as error:
            notice(f"not exported {short(hit.path)}: {error}")
        else:
            num_cut += 1
    notice(f"exported {counted(num_cut, 'file')} to {folder}")
    if hits and num_cut == 0:
        raise CezsarError(f"None of the hits could be cut to {folder}.")


def _export_list(hits: Sequence[Hit], folder: Path, pool: Pool, *, form: str, title: str, prefix: str) -> None:
    """Write all hits as one list; none, and nothing is written."""
    from cezsar import edit
    from cezsar.video import Timing

    def timing_of(path: Path) -> Timing:
        with pool.decoder() as decoder:
            return decoder.timing(path)

    def still_of(path: Path, time_s: float, target: Path) -> None:
        with pool.decoder() as decoder:
            decoder.still(path, time_s, target, width=edit.WIDTH)

    if not hits:
        return
    clips = [edit.Clip(hit.path, hit.start_s, hit.end_s, title) for hit in hits]
    made = edit.exported(form, clips, title=title, timing_of=timing_of, still_of=still_of)
    for line in made.notices:
        notice(line)
    edit.write(made, folder, prefix=prefix)
    names = ", ".join(prefix + name for name in made.files)
    notice(f"exported {counted(len(hits), 'hit')} to {folder}: {names}")


def _play(hits: Sequence[Hit], rank: int) -> None:
    """Open a hit in a player."""
    from cezsar import edit

    if rank > len(hits):
        raise QueryError(f"There is no hit {rank} to play: there are {len(hits)}.")
    hit = hits[rank - 1]
    name = edit.play(hit.path, start_s=hit.start_s)
    notice(f"{name} plays {short(hit.path)} from {clock(hit.start_s)}")

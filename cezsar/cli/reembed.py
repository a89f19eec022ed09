"""cezsar reembed"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cezsar.choices import STREAMS
from cezsar.cli.console import counted, device_option, index_option, json_option, notice, print_json
from cezsar.paths import path_fields, readable

if TYPE_CHECKING:
    from cezsar.settings import Settings

_NEEDED = "One of --model (or another sampling), --rollback and --drop-old is needed."
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(name="reembed")
@index_option
@click.option("--model", metavar="NAME|HUB_ID|DIR", help="The encoder to change to.")
@click.option("--streams", type=click.Choice(STREAMS), help="Streams of a trained model to use.")
@click.option("--fps", type=_POSITIVE, help="Frames per second to look at.  [default: the index's]")
@click.option("--window", "window_s", type=_POSITIVE, help="Seconds per segment.  [default: the index's]")
@click.option("--stride", "stride_s", type=_POSITIVE, help="Seconds between segments' starts.  [default: the index's]")
@click.option("--allow-missing", is_flag=True, help="Change over without videos that cannot be embedded now.")
@click.option("--rollback", is_flag=True, help="Return to the vectors before the last change.")
@click.option("--drop-old", is_flag=True, help="Delete all vectors that are not in use.")
@device_option
@click.option("--workers", type=click.IntRange(min=1), help="Videos decoded at once.  [default: 2]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Frames encoded at once.  [default: 8]")
@json_option
def command(allow_missing: bool, rollback: bool, drop_old: bool, as_json: bool, **chosen: Any) -> None:
    """Change an index's encoder or sampling, and lose nothing.

    New vectors are made beside the old ones. Queries use the old ones until every video has been embedded, and then
    change over at once. The next run goes on where one was interrupted. The old vectors stay until --drop-old.

    \b
    cezsar reembed                              bring over an index of an older version of lite
    cezsar reembed --model google/siglip2-base-patch16-224
    cezsar reembed --rollback
    cezsar reembed --drop-old
    """
    from cezsar import maintenance, store
    from cezsar.settings import load

    changes = [name for name in ("model", "streams", "fps", "window_s", "stride_s") if chosen[name] is not None]
    settings, num_asked = load(**chosen), bool(changes) + rollback + drop_old
    if num_asked > 1 or (num_asked == 0 and not store.exists(settings.index)):
        raise click.UsageError(_NEEDED)
    if num_asked == 0:
        settings = _newest(settings)
    if rollback:
        info = maintenance.roll_back(settings.index, notice=notice)
        if as_json:
            print_json({"index": str(settings.index), "model": info.encoder.name})
        else:
            click.echo(readable(f"{info.encoder.name} is in use again; `cezsar index PATH...` adds newer videos"))
    elif drop_old:
        freed = maintenance.drop_older(settings.index, notice=notice)
        if as_json:
            print_json({"index": str(settings.index), "bytes": freed})
        else:
            click.echo(f"freed {freed / 1e6:,.1f} MB")
    else:
        _reembed(settings, allow_missing, as_json)


def _newest(settings: Settings) -> Settings:
    """The settings that ask for the same encoder in its newest version, and the same streams."""
    from cezsar import encoders, store

    with store.open(settings.index) as catalog:
        recorded = catalog.info.encoder
    if encoders.older(recorded) is None:
        raise click.UsageError(_NEEDED)
    return replace(settings, model=recorded.name, streams=recorded.streams)


def _reembed(settings: Settings, allow_missing: bool, as_json: bool) -> None:
    from cezsar import indexer
    from cezsar.cli.index import Bar

    with ExitStack() as stack:
        bar = stack.enter_context(Bar(shown=not as_json))
        report = indexer.reembed(settings, allow_missing=allow_missing, progress=bar)
    if as_json:
        print_json(
            {
                "index": str(report.index),
                "model": report.model,
                "previous_model": report.previous_model,
                "videos": report.videos,
                "segments": report.segments,
                "seconds": round(report.seconds, 3),
                "skipped": [{**path_fields(skip.path), "reason": skip.reason} for skip in report.skipped],
            }
        )
        return
    click.echo(
        readable(
            f"{counted(report.videos, 'video')} of {report.previous_model} now of {report.model}; "
            f"{counted(report.segments, 'new segment')} in {report.seconds:.1f} s"
        )
    )
    click.echo("`cezsar reembed --rollback` returns to the old vectors, --drop-old deletes them.")

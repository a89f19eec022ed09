"""cezsar stats"""

from __future__ import annotations

import os

import click

from cezsar.cli.console import clock, index_option, json_option, notice, print_json
from cezsar.location import Location
from cezsar.paths import readable


@click.command(name="stats")
@index_option
@json_option
def command(index: Location | None, as_json: bool) -> None:
    """Say what the index holds and which encoder made it."""
    from cezsar import encoders, maintenance, store
    from cezsar.documents import stats_document
    from cezsar.settings import load

    directory = load(index=index).index
    with store.open(directory) as catalog:
        stats = maintenance.stats(catalog, directory)
    if older := encoders.older(stats.encoder):
        notice(older)
    if as_json:
        print_json(stats_document(stats))
        return
    encoder, sampling = stats.encoder, stats.sampling
    lines = [
        ("index", str(stats.index)),
        ("model", f"{encoder.name}, {encoder.dimension}-d, stream {encoder.streams}"),
        ("weights", encoder.weights_sha256[:16]),
        ("sampling", f"{sampling.fps:g} frames/s, {sampling.window_s:g} s segments every {sampling.stride_s:g} s"),
        ("videos", f"{stats.videos:,} ({clock(stats.duration_s)}), {stats.hidden_videos:,} hidden"),
        (
            "segments",
            f"{stats.segments:,}" + (f", {stats.plain_segments:,} of next to nothing" if stats.plain_segments else ""),
        ),
        ("size", f"{stats.num_bytes / 1e6:,.1f} MB, schema {stats.schema}"),
        ("cache", stats.cache),
        *(("streams", f"{num:,} not of the first video stream: --json") for num in [len(stats.other_streams)] if num),
        *(("folder", os.fspath(root)) for root in stats.roots),
    ]
    for title, value in lines:
        click.echo(f"{title:<9} {readable(value)}")

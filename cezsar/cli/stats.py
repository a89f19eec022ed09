"""cezsar stats"""

from __future__ import annotations

import os
from pathlib import Path

import click

from cezsar.cli.console import clock, index_option, json_option, print_json
from cezsar.paths import path_fields, readable


@click.command(name="stats")
@index_option
@json_option
def command(index: Path | None, as_json: bool) -> None:
    """Say what the index holds and which encoder made it."""
    from cezsar import catalog, maintenance
    from cezsar.settings import load

    with catalog.open_to_read(load(index=index).index) as store:
        with store.read() as session:
            counts, roots = catalog.counts(session), [Path(os.fsdecode(root)) for root in catalog.roots(session)]
        cache = maintenance.cache_state(store)
        info, size = store.info, sum(file.stat().st_size for file in store.directory.iterdir() if file.is_file())
    if as_json:
        print_json(
            {
                "index": os.fspath(store.directory),
                "model": info.encoder.name,
                "dimension": info.encoder.dimension,
                "streams": info.encoder.streams,
                "weights_sha256": info.encoder.weights_sha256,
                "fps": info.sampling.fps,
                "window_s": info.sampling.window_s,
                "stride_s": info.sampling.stride_s,
                "videos": counts.videos,
                "hidden_videos": counts.hidden_videos,
                "segments": counts.segments,
                "duration_s": counts.duration_s,
                "bytes": size,
                "schema": catalog.REVISION,
                "cache": cache,
                "roots": [path_fields(root) for root in roots],
            }
        )
        return
    encoder, sampling = info.encoder, info.sampling
    lines = [
        ("index", os.fspath(store.directory)),
        ("model", f"{encoder.name}, {encoder.dimension}-d, stream {encoder.streams}"),
        ("weights", encoder.weights_sha256[:16]),
        ("sampling", f"{sampling.fps:g} frames/s, {sampling.window_s:g} s segments every {sampling.stride_s:g} s"),
        ("videos", f"{counts.videos:,} ({clock(counts.duration_s)}), {counts.hidden_videos:,} hidden"),
        ("segments", f"{counts.segments:,}"),
        ("size", f"{size / 1e6:,.1f} MB, schema {catalog.REVISION}"),
        ("cache", cache),
        *(("folder", os.fspath(root)) for root in roots),
    ]
    for title, value in lines:
        click.echo(f"{title:<9} {readable(value)}")

"""The verb `serve`: runs behind HTTP, with a page to drop images on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli import console, meanings
from acclimate.cli import options as opt
from acclimate.cli.console import tell

LIMITS = "Limits"


def serve(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN|NAME=RUN...", help="Folders of `acclimate adapt`, each under a name.")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine reaches the usual one.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask clients for the token that is the first line of this file.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="On a loopback address: answer under this name, too, as behind a proxy; repeatable."
        ),
    ] = None,
    max_body_mb: Annotated[float, typer.Option(metavar="MB", help="Largest request.", rich_help_panel=LIMITS)] = 64.0,
    max_pixels: Annotated[
        int, typer.Option(help="Largest width x height of an image.", rich_help_panel=LIMITS)
    ] = 50_000_000,
    max_files: Annotated[int, typer.Option(help="Most images in a request.", rich_help_panel=LIMITS)] = 64,
    max_queue: Annotated[
        int, typer.Option(help="Most images that wait in front of a run.", rich_help_panel=LIMITS)
    ] = 256,
    max_requests: Annotated[int, typer.Option(help="Most requests at the same time.", rich_help_panel=LIMITS)] = 64,
    max_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Longest wait for an answer.", rich_help_panel=LIMITS)
    ] = 60.0,
    upload_seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Longest time in which a request must arrive.", rich_help_panel=LIMITS),
    ] = 30.0,
    device: opt.DeviceOption = opt.Device.auto,
    plugin: opt.Plugins = None,
    quiet: opt.Quiet = False,
) -> None:
    """Serve runs: a page to drop images on, and /predict, /explain, /ask for programs, until Ctrl-C."""
    console.show_notes(quiet)
    from acclimate.serving.server import check_extra, name_runs, read_token, serve

    check_extra()
    from acclimate.runs import load
    from acclimate.serving import Limits

    meanings.use_plugins(plugin)
    bounds: dict[str, Any] = {"max_body_mb": max_body_mb, "max_pixels": max_pixels, "max_files": max_files}
    bounds |= {"max_queue": max_queue, "max_requests": max_requests}
    limits = Limits(**bounds, max_seconds=max_seconds, upload_seconds=upload_seconds)
    token = None if token_file is None else read_token(token_file)
    models = {name: load(folder, device=device.value) for name, folder in name_runs(runs).items()}

    def told(address: str) -> None:
        tell(console.out, f"{', '.join(models)} at {address}; Ctrl-C ends it.")

    serve(models, host, port, limits=limits, token=token, allow_hosts=allow_host or (), told=told)

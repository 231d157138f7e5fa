"""The verb `report`: a page about runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acclimate.cli import console, meanings
from acclimate.cli import options as opt
from acclimate.cli.console import out as shown
from acclimate.cli.console import tell


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of `acclimate adapt` or `acclimate bench`.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page; one that is there is replaced.")] = Path(
        "report.html"
    ),
    features: Annotated[
        bool,
        typer.Option(
            "--features/--no-features", help="Load the backbone: where it looked, nearest images and words, a map."
        ),
    ] = True,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    metric: Annotated[str | None, typer.Option(help="Metric of the tables of a bench.")] = None,
    against: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Method that those of a bench are compared with.")
    ] = None,
    no_cache: opt.NoCache = False,
    plugin: opt.Plugins = None,
    quiet: opt.Quiet = False,
) -> None:
    """Write a report of runs as one HTML file, with images, that needs nothing else."""
    console.show_notes(quiet)
    from acclimate.reports import write_report

    meanings.use_plugins(plugin)
    told = {"features": features, "metric": metric, "against": against}
    told |= {"backbone": backbone, "domain_encoder": domain_encoder}
    path = write_report(runs, out, cache_dir=meanings.feature_cache(no_cache), **told)
    tell(shown, f"{path} is the report, {path.stat().st_size / 1e6:.1f} MB; open it in a browser.")

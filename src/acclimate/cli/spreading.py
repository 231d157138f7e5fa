"""Options that say who does the work: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from acclimate.cli.options import MACHINE
from acclimate.errors import ConfigError

if TYPE_CHECKING:
    from acclimate.bench import Launcher


class LauncherName(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


LauncherOption = Annotated[
    LauncherName,
    typer.Option("--launcher", help="Processes of this machine, or Ray (extra `ray`).", rich_help_panel=MACHINE),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Head of a Ray cluster, or auto; else one starts here.", rich_help_panel=MACHINE
    ),
]


def check(launcher: LauncherName, address: str | None) -> None:
    """Refuse an address that nobody would go to.

    Raises:
        ConfigError: so it is.
    """
    if launcher is LauncherName.local and address is not None:
        raise ConfigError(f"--address {address} is that of a Ray cluster; add --launcher ray, or leave it out")


@contextmanager
def open_launcher(
    launcher: LauncherName, address: str | None, jobs: int | None, retries: int | None
) -> Iterator[Launcher]:
    """Give what does the jobs of a bench, and end it."""
    from acclimate.bench import Pool

    if launcher is LauncherName.local:
        yield Pool(jobs or 1, retries or 0)
        return
    from acclimate.scaling.cluster import Cluster
    from acclimate.scaling.sweep import RETRIES, RayTasks

    with Cluster(address) as cluster:
        yield RayTasks(cluster, jobs, RETRIES if retries is None else retries)

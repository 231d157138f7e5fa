"""Options that say who does the work: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli import console
from acclimate.cli.options import MACHINE
from acclimate.counting import counted
from acclimate.errors import ConfigError

if TYPE_CHECKING:
    from acclimate.bench import Launcher
    from acclimate.scaling.predicting import Labelled


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


Cpus = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Cores of an actor on Ray.", rich_help_panel=MACHINE)
]
Gpus = Annotated[
    float | None,
    typer.Option(
        metavar="N", min=0, help="GPUs of an actor on Ray, or a share of one; usually 1 where there is any.",
        rich_help_panel=MACHINE,
    ),
]  # fmt: skip
Rows = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Images of a part, one file of the folder; usually 4,096.", rich_help_panel=MACHINE
    ),
]

FAILED = 1  # exit code where parts failed; those that are done stay done
WHOLE = {"adapt_to_folder": False, "as_json": False}  # what needs all images in one process


def check(launcher: LauncherName, address: str | None, **others: object) -> None:
    """Refuse what is said of Ray where the work stays here.

    Raises:
        ConfigError: so it is.
    """
    given = [f"--{name} {value}" for name, value in {"address": address, **others}.items() if value is not None]
    if launcher is LauncherName.local and given:
        raise ConfigError(f"{given[0]} is for a Ray cluster; add --launcher ray, or leave it out")


@contextmanager
def open_launcher(
    launcher: LauncherName, address: str | None, jobs: int | None, retries: int | None
) -> Iterator[Launcher]:
    """Give what does the jobs of a bench, and end it."""
    from acclimate.bench import Pool

    if launcher is LauncherName.local:
        yield Pool(jobs or 1, retries or 0)
        return
    from acclimate.scaling.cluster import RETRIES, Cluster
    from acclimate.scaling.sweep import RayTasks

    with Cluster(address) as cluster:
        yield RayTasks(cluster, jobs, RETRIES if retries is None else retries)


def predict(told: Mapping[str, Any]) -> None:
    """Label images on Ray, as the options of `predict` say, and tell what the folder holds.

    Raises:
        ConfigError: an option that needs all images in one process, or no folder.
    """
    from acclimate.bench.resources import Resources, parse_gpus
    from acclimate.cli.meanings import use_plugins
    from acclimate.cli.progress import Progress
    from acclimate.scaling.cluster import Cluster
    from acclimate.scaling.parts import ROWS
    from acclimate.scaling.predicting import predict_on

    for name, usual in WHOLE.items():
        if told[name] != usual:
            word = name.removeprefix("as_").replace("_", "-")
            raise ConfigError(f"--{word} needs all images in one process; leave it or --launcher ray out")
    if told["out"] is None:
        raise ConfigError("--launcher ray writes a folder of Parquet files; name it with --out")
    asked = Resources(told["cpus"], None if told["gpus"] is None else parse_gpus(told["gpus"]))
    names = ("backbone", "domain_encoder", "swap", "classes_of", "bands")
    load = {name: told[name] for name in names} | {"device": told["device"].value}
    stream = {name: told[name] for name in ("batch_size", "coverage", "known", "floor")}
    stream["precision"] = told["precision"].value
    stream["hierarchy"] = told["hierarchy"] and str(told["hierarchy"])
    how: dict[str, Any] = {"load": load, "stream": stream, "asked": None if asked == Resources() else asked}
    how |= {"rows": told["rows"] or ROWS, "plugins": use_plugins(told["plugin"])}
    with Cluster(told["address"]) as cluster, Progress(told["quiet"]) as progress:
        found = predict_on(cluster, told["run"], told["images"], told["out"], progress, **how)
    _tell(found, told["out"])


def _tell(found: Labelled, out: Any) -> None:
    parts = f"{counted(found.rows, 'row')} in {counted(found.parts, 'file')} of {out}"
    before = f", {found.before} of them done before" if found.before else ""
    console.tell(console.err, f"{parts}{before}", "note")
    if found.unread:
        could = counted(found.unread, "image")
        console.tell(console.err, f"{could} could not be read; the column error says why", "warning")
    for part, reason in found.failures:
        console.tell(console.err, f"failed: {part.file} ({reason})", "error")
    if found.failures:
        console.show_error(f"{len(found.failures)} of {found.parts + len(found.failures)} parts failed; start again")
        raise typer.Exit(FAILED)

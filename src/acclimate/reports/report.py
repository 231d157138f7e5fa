"""`make_report`: one HTML page about one run or several, about what they got right and wrong, with images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate import __version__, arguments
from acclimate.errors import RunError
from acclimate.files import make_folder, replace_file
from acclimate.reports.bench_facts import describe_bench, is_bench
from acclimate.reports.comparing import compare
from acclimate.reports.features import Onlooker
from acclimate.reports.pictures import Thumbnails
from acclimate.reports.run_facts import RunFacts
from acclimate.reports.sections import describe_run
from acclimate.telling.pages import render

THUMBNAILS = 900  # of all runs together: about 4 MB


@dataclass(frozen=True)
class Report:
    """A page about runs, with all that it needs in it.

    In a notebook it shows itself, in a frame of its own.

    Attributes:
        title: of the page.
        html: the page.
    """

    title: str
    html: str

    def __repr__(self) -> str:
        return f"Report({self.title!r}, {len(self.html) / 1e6:.1f} MB)"

    def _repr_html_(self) -> str:
        return render("acclimate.reports", "frame.html", report=self)

    def save(self, out: str | os.PathLike[str]) -> Path:
        """Write the page to a file, such as `report.html`, in place of one that is there, and return the file.

        Raises:
            RunError: it cannot be written.
        """
        path = _file(out)
        make_folder(path.parent)
        replace_file(path, self.html.encode())
        return path


def write_report(runs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], **options: Any) -> Path:
    """Write a report of runs or of a bench to a file, and return the file.

    Args:
        runs: as in `make_report`.
        out: the file, such as `report.html`; one that is there is replaced.
        options: of `make_report`.

    Raises:
        RunError: as there, or the file cannot be written.
        ConfigError: as there.
    """
    path = _file(out)
    return make_report(runs, **options).save(path)


def make_report(
    runs: Sequence[str | os.PathLike[str]],
    *,
    features: bool = True,
    cache_dir: Path | None = None,
    backbone: str | os.PathLike[str] | None = None,
    domain_encoder: str | os.PathLike[str] | None = None,
    metric: str | None = None,
    against: str | None = None,
) -> Report:
    """Return a report of runs that `adapt` has made, or of a bench: a page with all that it needs in it.

    The page has no script and asks for nothing else: images are small copies inside it. Names of classes, files and
    settings are shown as they are, and mean nothing to a browser. Images are looked for where they were when the run
    was made; those that have gone are left out. Runs of releases that kept no predictions have no galleries.

    Args:
        runs: folders; several are compared on the test images that they share. Folders of a bench give its tables.
        features: whether the model is loaded, for where it looked, the nearest training images, the map, and the words
            nearest to what it has learned.
        cache_dir: feature cache, or none.
        backbone: where that of the runs is, if not where it was; see `load`.
        domain_encoder: likewise.
        metric: of the tables of a bench, see `describe_bench`.
        against: the method that those of a bench are compared with.

    Raises:
        RunError: a folder is no run and no bench, or its model cannot be loaded although `backbone` or
            `domain_encoder` says where they are.
        ConfigError: a bench has no such metric or method.
    """
    if not runs:
        raise RunError("there is no run to report on; name the folder of one")
    folders = [arguments.path("runs", run) for run in runs]
    benches = [describe_bench(one, metric, against) for one in folders if is_bench(one)]
    facts = [RunFacts.read(one) for one in folders if not is_bench(one)]
    thumbnails = Thumbnails(THUMBNAILS)
    told = [
        describe_run(one, thumbnails, Onlooker(one, cache_dir, backbone, domain_encoder) if features else None)
        for one in facts
    ]
    named = [one["title"] for one in benches] + [one["name"] for one in told]
    title = named[0] if len(named) == 1 else f"{len(named)} results"
    shown = {"runs": told, "benches": benches, "comparison": compare(facts)}
    return Report(title, render("acclimate.reports", "report.html", title=title, version=__version__, **shown))


def _file(out: str | os.PathLike[str]) -> Path:
    path = arguments.path("out", out)
    if path.is_dir():
        raise RunError(f"{path} is a folder; name a file, such as {path / 'report.html'}")
    return path

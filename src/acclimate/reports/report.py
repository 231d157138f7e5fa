"""`write_report`: one HTML file about one run or several, about what they got right and wrong, with images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acclimate import __version__, arguments
from acclimate.errors import RunError
from acclimate.files import make_folder, replace_file
from acclimate.reports.bench_facts import describe_bench, is_bench
from acclimate.reports.comparing import compare
from acclimate.reports.pictures import Thumbnails
from acclimate.reports.run_facts import RunFacts
from acclimate.reports.sections import describe_run

THUMBNAILS = 600  # of all runs together: about 4 MB


def write_report(
    runs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    features: bool = True,
    cache_dir: Path | None = None,
    metric: str | None = None,
    against: str | None = None,
) -> Path:
    """Write a report of runs that `adapt` has made, or of a bench: a page with all that it needs in it.

    The page has no script and asks for nothing else: images are small copies inside it. Names of classes, files and
    settings are shown as they are, and mean nothing to a browser. Images are looked for where they were when the run
    was made; those that have gone are left out. Runs of releases that kept no predictions have no galleries.

    Args:
        runs: folders; several are compared on the test images that they share. Folders of a bench give its tables.
        out: the file, such as `report.html`; one that is there is replaced.
        features: whether the model is loaded, for where it looked, the nearest training images and the map.
        cache_dir: feature cache, or none.
        metric: of the tables of a bench, see `describe_bench`.
        against: the method that those of a bench are compared with.

    Returns:
        The file.

    Raises:
        RunError: a folder is no run and no bench, or the file cannot be written.
        ConfigError: a bench has no such metric or method.
    """
    if not runs:
        raise RunError("there is no run to report on; name the folder of one")
    path = arguments.path("out", out)
    if path.is_dir():
        raise RunError(f"{path} is a folder; name a file, such as {path / 'report.html'}")
    folders = [arguments.path("runs", run) for run in runs]
    benches = [describe_bench(one, metric, against) for one in folders if is_bench(one)]
    facts = [RunFacts.read(one) for one in folders if not is_bench(one)]
    thumbnails = Thumbnails(THUMBNAILS)
    told = [describe_run(one, thumbnails, features, cache_dir) for one in facts]
    named = [one["title"] for one in benches] + [one["name"] for one in told]
    title = named[0] if len(named) == 1 else f"{len(named)} results"
    page = _template().render(runs=told, benches=benches, title=title, comparison=compare(facts), version=__version__)
    make_folder(path.parent)
    replace_file(path, page.encode())
    return path


def _template() -> Any:
    import jinja2

    loader = jinja2.PackageLoader("acclimate.reports")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    return environment.get_template("report.html")

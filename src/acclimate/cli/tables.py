"""Tables: how results look in a terminal, and the same as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from acclimate.cli.console import out
from acclimate.cli.terminal import escape, json_text

if TYPE_CHECKING:
    from acclimate.data import CheckReport, ImageData
    from acclimate.tasks import Task

LEADING = 2  # figures that are shown with their intervals where a line must fit into 80 columns


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table: first column left, the others right."""
    made = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(columns):
        made.add_column(name, justify="right" if number else "left", no_wrap=True)
    return made


def listing(*columns: str, title: str | None = None) -> Table:
    """Return an empty table of words: the first column is never cut, the others wrap."""
    made = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(columns):
        made.add_column(name, no_wrap=not number)
    return made


def data_line(images: ImageData) -> str:
    """Return one line about a data set."""
    domains = f", {len(images.domain_names)} domains" if images.domain_names else ""
    skipped = f"; {len(images.skipped)} unreadable images left out" if images.skipped else ""
    return f"{images.name}: {len(images)} images, {len(images.class_names)} classes{domains}{skipped}"


def figure(name: str, metrics: Mapping[str, Any], interval: bool = True) -> str:
    """Return one of some metrics, with its interval unless told otherwise, in percent where it is a share of images."""
    from acclimate.metrics import find_figure, get_measure

    measure, found = get_measure(name), find_figure(metrics, name)
    if found is None:
        return ""
    point, low, high = (measure.show(found[end]) for end in ("value", "low", "high"))
    return f"{point} [{low}, {high}]" if interval else point


def print_json(content: Any) -> None:
    """Print plain JSON, unstyled, for other programs."""
    print(json_text(content, indent=2))


def show_record(record: dict[str, Any], task: Task[Any], as_json: bool = False) -> None:
    """Show the method beside the baselines of its task."""
    from acclimate.metrics import get_measure

    if as_json:
        print_json(record)
        return
    if record["metrics"] is None:
        out.print("Nothing was measured: the data have no test images.")
        return
    rows = {**record["baselines"], record["method"]: record["metrics"]}
    seconds = record["cost"]["seconds"]
    title = f"{record['data']['name']}, {_shots(record['shots'])}, seed {record['seed']}"
    shown = table("method", *(get_measure(name).short for name in task.figures), "s", title=escape(title))
    leading = LEADING if len(task.figures) <= 5 else 0
    for name, metrics in rows.items():
        cells = [figure(key, metrics, place < leading) for place, key in enumerate(task.figures)]
        shown.add_row(name, *cells, f"{seconds.get(name, 0.0):.1f}", style="best" if name == record["method"] else "")
    beside = [name for name in ("image features", "domain features", "prerequisites") if name in seconds]
    spent = "".join(f"; {name} {seconds[name]:.1f} s" for name in beside)
    out.print()
    out.print(shown)
    out.print(f"[note]{task.note(record['metrics'])}{spent}[/]", soft_wrap=True)


def _shots(shots: int | str) -> str:
    if isinstance(shots, int):
        return f"{shots} images a class"
    return "all images" if shots == "all" else f"{shots.partition(':')[2]} images in all"


def show_next_steps(run: Path, task: Task[Any]) -> None:
    """Show what to do with a finished run."""
    quoted = escape(shlex.quote(str(run)))
    out.print(f"\nThe adapter is in {escape(str(run))}. Next:", soft_wrap=True)
    if task.has_classes:
        out.print(f"  acclimate predict {quoted} NEW_IMAGES --out labels.csv", soft_wrap=True)
    out.print(f"  acclimate evaluate {quoted} {task.other_data}", soft_wrap=True)


def show_metrics(metrics: dict[str, Any], task: Task[Any], title: str, as_json: bool = False) -> None:
    """Show the metrics of one evaluation, and whatever its task has to say of their parts."""
    from acclimate.metrics import get_measure

    if as_json:
        print_json(metrics)
        return
    shown = table("metric", "value [95 % interval]", title=escape(title))
    for name in task.figures:
        shown.add_row(get_measure(name).short, figure(name, metrics))
    out.print(shown)
    out.print(f"[note]{task.note(metrics)}[/]", soft_wrap=True)
    details = task.details(metrics)
    if details is not None:
        headings, rows = details
        second = table(*headings)
        for row in rows:
            second.add_row(*map(escape, row))
        out.print()
        out.print(second)


def show_prediction(prediction: Any, task: Task[Any]) -> None:
    """Show one prediction as a line."""
    if not prediction.error:
        out.print(escape(task.line(prediction)), soft_wrap=True)


def show_check(report: CheckReport, as_json: bool = False) -> None:
    """Show what `acclimate data check` found."""
    content = report.to_dict()
    if as_json:
        print_json(content)
        return
    sizes = content["classes"].values()
    splits = ", ".join(f"{name} {count}" for name, count in content["splits"].items())
    out.print(
        f"{content['pictures']} images; {len(sizes)} classes of {min(sizes)} to {max(sizes)}; "
        f"split {content['split_origin']} ({splits})\n",
        soft_wrap=True,
    )
    shown = table("property", "median [least, most]", "tells of the class")
    for name, row in content["statistics"].items():
        if "most" in row:
            typical = f"{row['most']} ({row['share']:.0%})"
        else:
            typical = f"{row['median']:.4g} [{row['low']:.4g}, {row['high']:.4g}]"
        shown.add_row(name.replace("_", " "), typical, f"{row['explains']:.0%}")
    out.print(shown)
    out.print()
    styles = {"error": "error", "warning": "warning", "info": "note"}
    findings = content["findings"]
    for finding in findings:
        out.print(f"[{styles[finding['level']]}]{finding['level']:<8}[/] {escape(finding['message'])}", soft_wrap=True)
        for example in finding["examples"][:3]:
            words = example if isinstance(example, str) else " ~ ".join(map(str, example))
            if words not in finding["message"]:
                out.print(f"         [note]{escape(words)}[/]", soft_wrap=True)
    counts = {level: sum(finding["level"] == level for finding in findings) for level in styles}
    out.print(f"\n{counts['error']} errors, {counts['warning']} warnings, {counts['info']} notes")


def show_settings(name: str, as_json: bool = False) -> None:
    """Show the settings of one method."""
    from acclimate.methods.cards import get_card

    card = get_card(name)
    if as_json:
        print_json({"name": card.name, "settings": card.settings})
        return
    title = f"{card.name}: {card.title} ({card.paper})"
    shown = listing("setting", "values", "default", "meaning", title=title)
    for row in card.settings:
        shown.add_row(row["name"], row["type"], row["default"], escape(row["help"]))
    out.print(shown)


def show_methods(as_json: bool = False) -> None:
    """Show all methods."""
    from acclimate.methods.cards import list_cards

    shown_of = ("name", "title", "inputs", "learns", "paper")
    rows = [{key: getattr(card, key) for key in shown_of} for card in list_cards()]
    if as_json:
        print_json(rows)
        return
    shown = listing("method", "what it is", "reads", "learns", "paper")
    for row in rows:
        shown.add_row(*row.values())
    out.print(shown)
    out.print("\nSettings of one: acclimate methods NAME")


def show_backbones(as_json: bool = False) -> None:
    """Show the catalogue."""
    from dataclasses import asdict

    from acclimate.backbones.catalogue import list_backbones

    rows = [asdict(info) for info in list_backbones()]
    if as_json:
        print_json(rows)
        return
    columns = ("id", "family", "input_size", "parameters", "domain", "licence")
    shown = listing("id", "family", "px", "M params", "domain", "licence")
    for row in rows:
        shown.add_row(*("" if row.get(key) is None else str(row[key]) for key in columns))
    out.print(shown)
    out.print("\nAny other CLIP or SigLIP folder or Hub id in Hugging Face format works as well: --backbone ID|DIR")

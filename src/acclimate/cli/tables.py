"""Tables: how results look in a terminal, and the same as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.cli import layout
from acclimate.cli.console import is_unicode, out, show_line, tell
from acclimate.cli.layout import Sheet
from acclimate.cli.terminal import json_text
from acclimate.cli.verdicts import show_expectation, show_verdict
from acclimate.cli.wording import in_dashes
from acclimate.counting import counted
from acclimate.telling.words import figure_text, rows_beside, shots_text

if TYPE_CHECKING:
    from acclimate.data import CheckReport, ImageData
    from acclimate.tasks import Task

LEADING = 2  # figures that are shown with their intervals where a line must fit into 80 columns


def data_line(images: ImageData) -> str:
    """Return one line about a data set."""
    domains = f", {counted(len(images.domain_names), 'domain')}" if images.domain_names else ""
    skipped = f"; {counted(len(images.skipped), 'unreadable image')} left out" if images.skipped else ""
    sizes = f"{counted(len(images), 'image')}, {counted(len(images.class_names), 'class', 'classes')}"
    return f"{images.name}: {sizes}{domains}{skipped}"


def show_figures(sheet: Sheet) -> None:
    """Print a table of figures, of which none is lost where the terminal is narrow."""
    layout.show(layout.figures(sheet, out.width), out)


def show_words(sheet: Sheet) -> None:
    """Print a table of words, none of which is broken."""
    layout.show(layout.words(sheet, out.width), out)


def print_json(content: Any, indent: int | None = 2) -> None:
    """Print plain JSON, unstyled, for other programs; in ASCII where the output is no Unicode."""
    print(json_text(content, indent, ascii=not is_unicode(sys.stdout)))


def show_record(record: dict[str, Any], task: Task[Any], as_json: bool = False) -> None:
    """Show the method beside the baselines of its task, and what that means."""
    from acclimate.metrics import get_measure

    if as_json:
        print_json(record)
        return
    if record.get("sets"):
        show_sets(record, task)
        return
    if record["metrics"] is None:
        out.print("Nothing was measured: the data have no test images.")
        return
    method = record["method"]
    rows = {name: metrics for name, metrics in rows_beside(record).items() if metrics}
    seconds = record["cost"]["seconds"]
    title = f"{record['data']['name']}, {shots_text(record['shots'])}, seed {record['seed']}"
    figures = task.shown(record["metrics"])
    sheet = Sheet(["method", *(get_measure(name).short for name in figures), "s"], title)
    leading = LEADING if len(figures) <= 5 else 0
    for name, metrics in rows.items():
        cells = [figure_text(key, metrics, place < leading) for place, key in enumerate(figures)]
        sheet.add(name, *cells, f"{seconds.get(name, 0.0):.1f}", style="best" if name == method else "")
    spent_on = [name for name in ("image features", "domain features", "prerequisites") if name in seconds]
    spent = "".join(f"; {name} {seconds[name]:.1f} s" for name in spent_on)
    out.print()
    show_figures(sheet)
    tell(out, f"{task.note(record['metrics'])}{spent}", "note")
    show_verdict(record["method"], record["metrics"], record.get("verdict"), task)
    show_expectation(record)


def show_sets(record: Mapping[str, Any], task: Task[Any]) -> None:
    """Show the method on each of several data sets and in the mean, the headline of every row, and what it means."""
    from acclimate.metrics import flat_values, get_measure

    method, measured = record["method"], {name: found for name, found in record["tests"].items() if found}
    if not measured:
        out.print("Nothing was measured: the data have no test images.")
        return
    title = f"{record['data']['name']}, {shots_text(record['shots'])} of each, seed {record['seed']}"

    def mean(found: Mapping[str, Any], name: str) -> str:
        values = [flat_values(metrics)[name] for metrics in found.values() if metrics]
        known = [value for value in values if value is not None]
        return get_measure(name).show(sum(known) / len(known)) if len(known) == len(measured) else ""

    own = Sheet([method, *(get_measure(name).short for name in task.figures)], title)
    for name, metrics in measured.items():
        own.add(name, *(figure_text(key, metrics, interval=False) for key in task.figures))
    own.add("mean", *(mean(measured, key) for key in task.figures), style="best")
    rows: dict[str, dict[str, Any]] = {}
    for name in measured:
        for other, metrics in rows_beside(record, name).items():
            rows.setdefault(other, {})[name] = metrics
    sheet = Sheet([get_measure(task.headline).short, *measured, "mean"])
    for name, found in rows.items():
        cells = [figure_text(task.headline, found[one]) if found.get(one) else "cannot serve" for one in measured]
        sheet.add(name, *cells, mean(found, task.headline), style="best" if name == method else "")
    for one in (own, sheet):
        out.print()
        show_figures(one)
    for name, metrics in measured.items():
        out.print()
        tell(out, f"{name}: {task.note(metrics)}", "note")
        show_verdict(method, metrics, record["sets"][name]["verdict"], task)


def show_metrics(metrics: dict[str, Any], method: str, task: Task[Any], title: str, as_json: bool = False) -> None:
    """Show the metrics of one evaluation beside its baselines, and whatever its task has to say of their parts."""
    from acclimate.metrics import get_measure

    if as_json:
        print_json(metrics)
        return
    rows = {method: metrics, **metrics["baselines"]}
    sheet = Sheet(["95 % intervals", *rows], title)
    for name in task.shown(metrics):
        sheet.add(get_measure(name).short, *(figure_text(name, row) for row in rows.values()))
    show_figures(sheet)
    tell(out, task.note(metrics), "note")
    details = task.details(metrics)
    if details is not None:
        headings, lines = details
        second = Sheet(headings)
        for line in lines:
            second.add(*line)
        out.print()
        show_figures(second)
    show_verdict(method, metrics, metrics["verdict"], task)
    if floor := task.floor(metrics):
        tell(out, floor)


def show_prediction(prediction: Any, task: Task[Any]) -> None:
    """Show one prediction as a line."""
    if not prediction.error:
        show_line(out, task.line(prediction))


def show_check(report: CheckReport, as_json: bool = False) -> None:
    """Show what `acclimate data check` found."""
    content = report.to_dict()
    if as_json:
        print_json(content)
        return
    sizes = content["classes"].values()
    splits = ", ".join(f"{name} {count}" for name, count in content["splits"].items())
    tell(
        out,
        f"{counted(content['pictures'], 'image')}; {counted(len(sizes), 'class', 'classes')} of {min(sizes)} to "
        f"{max(sizes)}; "
        f"split {content['split_origin']} ({splits})",
    )
    out.print()
    sheet = Sheet(["property", "median [least, most]", "tells of the class"])
    for name, row in content["statistics"].items():
        if "most" in row:
            typical = f"{row['most']} ({row['share']:.0%})"
        else:
            typical = f"{row['median']:.4g} [{row['low']:.4g}, {row['high']:.4g}]"
        sheet.add(name.replace("_", " "), typical, f"{row['explains']:.0%}")
    show_figures(sheet)
    out.print()
    styles = {"error": "error", "warning": "warning", "info": "note"}
    findings = content["findings"]
    for finding in findings:
        level = finding["level"]
        tell(out, in_dashes(finding["message"]), label=f"{level:<8} ", label_style=styles[level])
        for example in finding["examples"][:3]:
            words = example if isinstance(example, str) else " ~ ".join(map(str, example))
            if words not in finding["message"]:
                show_line(out, f"         {words}", "note")
    counts = {level: sum(finding["level"] == level for finding in findings) for level in styles}
    names = {"error": "error", "warning": "warning", "info": "note"}
    out.print("\n" + ", ".join(counted(counts[level], name) for level, name in names.items()))


def show_settings(name: str, as_json: bool = False) -> None:
    """Show the settings of one method."""
    from acclimate.methods.cards import get_card

    card = get_card(name)
    if as_json:
        print_json({"name": card.name, "settings": card.settings})
        return
    sheet = Sheet(["setting", "values", "default", "meaning"], f"{card.name}: {card.title} ({card.paper})")
    for row in card.settings:
        sheet.add(row["name"], row["type"], row["default"], row["help"])
    show_words(sheet)


def show_methods(as_json: bool = False) -> None:
    """Show all methods."""
    from acclimate.methods.cards import list_cards

    shown_of = ("name", "title", "inputs", "learns", "paper")
    rows = [{key: getattr(card, key) for key in shown_of} for card in list_cards()]
    if as_json:
        print_json(rows)
        return
    sheet = Sheet(["method", "what it is", "reads", "learns", "paper"])
    for row in rows:
        sheet.add(*row.values())
    show_words(sheet)
    out.print("\nSettings of one: acclimate methods NAME")


def show_backbones(as_json: bool = False) -> None:
    """Show the catalogue, by the images that its entries were trained on."""
    from dataclasses import asdict

    from acclimate.backbones.catalogue import list_backbones, list_groups

    entries = list_backbones()
    if as_json:
        print_json([asdict(info) for info in entries])
        return
    for group in list_groups():
        tell(out, f"{group.title}: {group.advice}", "bold")
        members = [info for info in entries if info.group == group.id]
        domains = sorted({info.domain for info in members})
        sheet = Sheet(["id", "family", "px", "M", "licence"])
        for info in members:
            size = "" if info.parameters is None else f"{info.parameters:g}"
            sheet.add(info.id, info.family, str(info.input_size), size, info.licence)
        show_words(sheet)
        tell(out, f"trained on: {' / '.join(domains)}", "note")
        for info in members:
            if info.note:
                tell(out, f"{info.title}: {info.note}", "note")
        out.print()
    tell(out, "px: side of an image. M: million parameters. The licence is that of the weights.", "note")
    tell(
        out,
        "Any other folder or Hub id of these and other supported families works as well, and so does a checkpoint "
        "file of open_clip: --backbone ID|DIR|FILE. Which one suits your images: acclimate backbones --on DATA",
    )

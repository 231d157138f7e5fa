"""Tables: how results look in a terminal, and the same as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from acclimate.cli.console import out

if TYPE_CHECKING:
    from acclimate.data import CheckReport, ImageData
    from acclimate.runs.prediction import Prediction

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


def figure(name: str, value: dict[str, float], interval: bool = True) -> str:
    """Return a metric, with its interval unless told otherwise, in percent where it is a share of images."""
    from acclimate.metrics import get_measure

    point, low, high = (get_measure(name).show(value[end]) for end in ("value", "low", "high"))
    return f"{point} [{low}, {high}]" if interval else point


def print_json(content: Any) -> None:
    """Print plain JSON, unstyled, for other programs."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def show_record(record: dict[str, Any], as_json: bool = False) -> None:
    """Show the method beside zero-shot and the linear probe."""
    from acclimate.metrics import CLASSIFICATION, get_measure

    if as_json:
        print_json(record)
        return
    if record["metrics"] is None:
        out.print("Nothing was measured: the data have no test images.")
        return
    rows = {**record["baselines"], record["method"]: record["metrics"]}
    if "image_to_text" in record["metrics"]:
        _show_retrieval(rows, f"{record['data']['name']}, captions, seed {record['seed']}")
        return
    seconds = record["cost"]["seconds"]
    shots = _shots(record["shots"])
    title = f"{record['data']['name']}, {shots}, seed {record['seed']}"
    shown = table("method", *(get_measure(metric).short for metric in CLASSIFICATION), "s", title=escape(title))
    for name, metrics in rows.items():
        style = "best" if name == record["method"] else ""
        time = f"{seconds.get(name, 0.0):.1f}"
        figures = (figure(key, metrics[key], place < LEADING) for place, key in enumerate(CLASSIFICATION))
        shown.add_row(name, *figures, time, style=style)
    out.print()
    out.print(shown)
    test = record["metrics"]
    beside = [name for name in ("image features", "domain features", "prerequisites") if name in seconds]
    spent = ", ".join(f"{name} {seconds[name]:.1f} s" for name in beside)
    out.print(
        f"[note]{test['samples']} test images; brackets: 95 % bootstrap interval over {test['groups']} groups; "
        f"{spent}[/]"
    )


def _show_retrieval(rows: Mapping[str, dict[str, Any]], title: str) -> None:
    """Show Recall@K in both directions, a row a method; the last of them is the one that learned."""
    from acclimate.metrics import flat_values, get_measure

    columns = [get_measure(name).short for name in flat_values(next(iter(rows.values())))]
    shown = table("method", *columns, title=escape(title))
    for number, (name, metrics) in enumerate(rows.items(), start=1):
        cells = [get_measure(measure).show(value) for measure, value in flat_values(metrics).items()]
        shown.add_row(escape(name), *cells, style="best" if number == len(rows) > 1 else "")
    last = [*rows.values()][-1]
    out.print()
    out.print(shown)
    out.print(
        f"[note]Recall@K in percent, finding texts by images and images by texts, among {last['captions']} captions of "
        f"{last['images']} images[/]",
        soft_wrap=True,
    )


def _shots(shots: int | str) -> str:
    if isinstance(shots, int):
        return f"{shots} images a class"
    return "all images" if shots == "all" else f"{shots.partition(':')[2]} images in all"


def show_next_steps(run: Path, captions: bool = False) -> None:
    """Show what to do with a finished run; one that has learned from captions predicts no classes."""
    quoted = escape(shlex.quote(str(run)))
    out.print(f"\nThe adapter is in {escape(str(run))}. Next:", soft_wrap=True)
    if not captions:
        out.print(f"  acclimate predict {quoted} NEW_IMAGES --out labels.csv", soft_wrap=True)
    out.print(f"  acclimate evaluate {quoted} OTHER_{'CAPTIONS' if captions else 'DATA'}", soft_wrap=True)


def show_metrics(metrics: dict[str, Any], title: str, as_json: bool = False) -> None:
    """Show the metrics of one evaluation, with the classes."""
    from acclimate.metrics import CLASSIFICATION, get_measure

    if as_json:
        print_json(metrics)
        return
    if "image_to_text" in metrics:
        _show_retrieval({"recall": metrics}, title)
        return
    shown = table("metric", "value [95 % interval]", title=escape(title))
    for name in CLASSIFICATION:
        shown.add_row(get_measure(name).short, figure(name, metrics[name]))
    out.print(shown)
    classes = table("class", "images", "precision", "recall", "F1")
    for name, row in metrics["per_class"].items():
        figures = (f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f1"))
        classes.add_row(escape(name), str(row["support"]), *figures)
    out.print()
    out.print(classes)


def prediction_row(prediction: Prediction, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return one prediction as plain values."""
    scores = dict(zip(class_names, prediction.probabilities.tolist(), strict=False))
    return {
        "path": prediction.path,
        "label": prediction.label,
        "probability": prediction.probability,
        **({} if prediction.spread is None else {"spread": prediction.spread}),
        "probabilities": scores,
        "error": prediction.error,
    }


def show_prediction(prediction: Prediction) -> None:
    """Show one prediction as a line."""
    if not prediction.error:
        spread = "" if prediction.spread is None else f" ±{prediction.spread:5.1%}"
        line = f"{prediction.probability:6.1%}{spread}  {prediction.label:<24}  {prediction.path}"
        out.print(escape(line), soft_wrap=True)


def show_check(report: CheckReport, as_json: bool = False) -> None:
    """Show what `acclimate data check` found."""
    content = report.to_dict()
    if as_json:
        print_json(content)
        return
    sizes = content["classes"].values()
    splits = ", ".join(f"{name} {count}" for name, count in content["splits"].items())
    out.print(
        f"{content['pictures']} pictures; {len(sizes)} classes of {min(sizes)} to {max(sizes)}; "
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
    from acclimate.methods import get_method
    from acclimate.options import describe_options

    method = get_method(name)
    rows = describe_options(method.Config)
    if as_json:
        print_json({"name": method.name, "settings": rows})
        return
    title = f"{method.name}: {method.title} ({method.paper})"
    shown = listing("setting", "values", "default", "meaning", title=title)
    for row in rows:
        shown.add_row(row["name"], row["type"], row["default"], escape(row["help"]))
    out.print(shown)


def show_methods(as_json: bool = False) -> None:
    """Show all methods."""
    from acclimate.methods import list_methods

    rows = [
        {
            "name": method.name,
            "title": method.title,
            "needs": ", ".join(sorted(method.needs)),
            "learns": method.learns,
            "paper": method.paper,
        }
        for method in list_methods()
    ]
    if as_json:
        print_json(rows)
        return
    shown = listing("method", "what it is", "input", "learns", "paper")
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

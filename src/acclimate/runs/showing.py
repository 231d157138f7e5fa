"""What a model says of itself: in a line where it is printed, as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from acclimate.counting import counted
from acclimate.data.ordering import some
from acclimate.metrics import find_figure, get_measure
from acclimate.telling.pages import render
from acclimate.telling.tables import figures_table
from acclimate.telling.words import rows_beside, shots_text, tests_of, verdict_of, verdict_sentence

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel


def summary(model: AdaptedModel) -> str:
    """Return in a line what a model is: method, backbone, classes, size and headline figure."""
    task, facts = model.task, [_title(model), *_facts(model)]
    metrics = model.record.get("metrics") if model.class_names == model.trained_classes else None
    if metrics and (figure := find_figure(metrics, task.headline)):
        measure = get_measure(task.headline)
        facts.append(f"test {measure.title} {measure.show(figure['value'])}")
    return f"{type(model).__name__}({'; '.join(facts)})"


def html(model: AdaptedModel) -> str:
    """Return for a notebook what a model is, and its figures beside those of others, with what they mean.

    Figures of its own test images are shown while the classes that it was trained on are bound, or those of one of
    several data sets; of other classes there are none.
    """
    record, facts = model.record, _facts(model)
    if "shots" in record:
        facts.append(f"learned from {shots_text(record['shots'])}, seed {record['seed']}")
    return render("acclimate.telling", "model.html", title=_title(model), facts=facts, tests=[*_tests(model)])


def _title(model: AdaptedModel) -> str:
    method = model.method
    beside = "" if method.domain_encoder is None else f" and {method.domain_encoder.name!r}"
    return f"{method.name} on {model.backbone.name!r}{beside}"


def _facts(model: AdaptedModel) -> list[str]:
    names = model.class_names
    known = f"{counted(len(names), 'class', 'classes')}: {some(names)}" if names else model.task.title.lower()
    return [known, f"{model.method.learned_parameters():,} learned numbers"]


def _tests(model: AdaptedModel) -> Iterator[dict[str, Any]]:
    record, own = model.record, model.class_names == model.trained_classes
    for name, _ in tests_of(record) if "metrics" in record else ():
        if own or name == model.serves:
            rows = {other: metrics for other, metrics in rows_beside(record, name).items() if metrics}
            verdict = verdict_of(record, name)
            yield {
                "name": name,
                "verdict": verdict_sentence(record["method"], verdict) if verdict else "",
                "table": figures_table(model.task, rows, record["method"]),
            }

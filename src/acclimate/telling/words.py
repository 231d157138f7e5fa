"""Sentences about the figures of a run: what they mean, wherever they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from acclimate.counting import counted

OUTCOMES = {
    "better": "{method} is better than {other}",
    "worse": "{method} is worse than {other}",
    "within the noise": "{method} and {other} are within the noise",
}


def verdict_sentence(method: str, verdict: Mapping[str, Any]) -> str:
    """Return a verdict in words.

    Args:
        method: what it speaks of.
        verdict: see `Task.verdict`.
    """
    from acclimate.metrics import get_measure

    if not verdict["differing"]:
        return f"{method} and {verdict['against']} are right on the very same images: there is no difference."
    measure, gap = get_measure(verdict["metric"]), verdict["difference"]
    other = verdict["against"] if verdict["others"] == 1 else f"the best baseline, {verdict['against']},"
    told = OUTCOMES[verdict["outcome"]].format(method=method, other=other).rstrip(",")
    value, low, high = (measure.show(gap[end], "+") for end in ("value", "low", "high"))
    title = measure.title.removesuffix(" (%)")
    return f"{told}: {value} {measure.unit} of {title} [{low}, {high}], image by image on the same test images."


def expectation_sentence(record: Mapping[str, Any]) -> str:
    """Return what twice the labels would bring; nothing where the record does not have it."""
    if (found := record.get("learning_curve")) is None:
        return ""
    now, then = ([f"{100 * found[when][end]:.0f}" for end in ("value", "low", "high")] for when in ("now", "then"))
    return (
        f"With twice the labels, {then[0]} % [{then[1]}, {then[2]}] balanced accuracy is to be expected, where it is "
        f"{now[0]} % [{now[1]}, {now[2]}] now: of kernel ridge regression, from parts of the {found['images']} "
        "training images."
    )


def tests_of(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the tests of a record that were measured, by name, with the metrics of its method."""
    if record["metrics"]:
        yield "test", record["metrics"]
    for name, metrics in record["tests"].items():
        if metrics:
            yield name, metrics


def verdict_of(record: Mapping[str, Any], test: str = "test") -> Mapping[str, Any] | None:
    """Return how the method of a record stands to the best of the others on a test; none where that is not known."""
    of_test = record if test == "test" else record.get("sets", {}).get(test, {})
    found: Mapping[str, Any] | None = of_test.get("verdict")
    return found


def rows_beside(record: Mapping[str, Any], test: str = "test") -> dict[str, Mapping[str, Any] | None]:
    """Return the metrics of the method of a run and of all that stands beside it on a test, by name, its own the last.

    None stands where classes cannot be served.

    Args:
        record: of the run.
        test: its test, or one of several data sets.
    """
    method, alone = record["method"], record.get("task_model", {})
    of_test = record if test == "test" else record.get("sets", {}).get(test, {})
    found: dict[str, Mapping[str, Any] | None] = dict(of_test.get("baselines", {}))
    model = alone.get("metrics") if test == "test" else (alone.get("tests") or {}).get(test)
    found |= {"task-specific model": model} if model else {}
    for name, one in record.get("ablations", {}).items():
        found[f"{method}, {name}"] = one["metrics"] if test == "test" else one["tests"].get(test)
    return found | {method: record["metrics"] if test == "test" else record["tests"][test]}


def figure_text(name: str, metrics: Mapping[str, Any], interval: bool = True) -> str:
    """Return one of some metrics, with its interval unless told otherwise, in percent where it is a share of images."""
    from acclimate.metrics import find_figure, get_measure

    measure, found = get_measure(name), find_figure(metrics, name)
    if found is None:
        return ""
    point, low, high = (measure.show(found[end]) for end in ("value", "low", "high"))
    return f"{point} [{low}, {high}]" if interval else point


def shots_text(shots: int | str) -> str:
    """Return how many images were learned from, in words."""
    if isinstance(shots, int):
        return f"{counted(shots, 'image')} a class"
    return "all images" if shots == "all" else f"{counted(int(shots.partition(':')[2]), 'image')} in all"

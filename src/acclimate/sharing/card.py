"""The card of a run: a README.md for the Hub, with its figures where the Hub reads them, made of the record alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acclimate.counting import counted
from acclimate.tasks import Task, get_task
from acclimate.telling.tables import figures_table
from acclimate.telling.words import (
    expectation_sentence,
    rows_beside,
    shots_text,
    tests_of,
    verdict_of,
    verdict_sentence,
)

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

    from acclimate.sharing.encoders import Needed

LICENCES = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC BY-NC 4.0": "cc-by-nc-4.0"}
"""The Hub's words for licences of the catalogue."""
MOST_CLASSES = 60  # that the card lists


def make_card(name: str, adapter: Mapping[str, Any], record: Mapping[str, Any], encoders: Sequence[Needed]) -> str:
    """Return the README.md of a run.

    Args:
        name: OWNER/NAME.
        adapter: what `adapter.json` holds.
        record: what `record.json` holds, without what is private.
        encoders: those that the run needs.
    """
    import jinja2
    from huggingface_hub import ModelCard

    task = get_task(record.get("task", "classification"))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("acclimate.sharing"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, whose own characters `plain` escapes
    )
    environment.filters |= {"plain": plain, "counted": counted}
    body = environment.get_template("card.md").render(
        name=name,
        adapter=adapter,
        record=record,
        task=task,
        encoders=encoders,
        shots=shots_text(record["shots"]) if "shots" in record else "",
        classes=[str(one) for one in adapter["class_names"]][:MOST_CLASSES],
        tests=[_test(task, record, test) for test, _ in tests_of(record)],
        expectation=expectation_sentence(record),
        limits=list(_limits(task, record)),
        licences=[(one, licence) for one in encoders for licence in one.licences],
    )
    head = _metadata(name, task, record, encoders).to_yaml()
    return str(ModelCard(f"---\n{head}\n---\n\n{body}"))


def plain(text: object) -> str:
    """Return a text that Markdown shows as it is, on one line.

    >>> plain("a|b <i>_c_")
    'a\\\\|b \\\\<i\\\\>\\\\_c\\\\_'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))


def _test(task: Task[Any], record: Mapping[str, Any], test: str) -> dict[str, Any]:
    rows = {name: metrics for name, metrics in rows_beside(record, test).items() if metrics}
    verdict = verdict_of(record, test)
    return {
        "name": "" if test == "test" else test,
        "table": figures_table(task, rows, record["method"]),
        "verdict": verdict_sentence(record["method"], verdict) if verdict else "",
        "confusions": task.confusions(rows[record["method"]]),
    }


def _limits(task: Task[Any], record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reader must know before relying on the model."""
    images = record["data"].get("images", {})
    if not any(True for _ in tests_of(record)):
        yield "Nothing was measured: the data had no test images."
    else:
        few = images.get("test")
        yield (
            "The figures hold for images like the test images of the same data"
            + (f", {counted(few, 'image')}" if few else "")
            + "; brackets are 95 % bootstrap intervals. Images from another place, sensor, time or selection can be "
            "much harder."
        )
    if task.has_classes:
        yield "It answers with one of its classes whatever an image shows, and is no judge of what it has not learned."
    if record.get("calibration"):
        yield (
            "`predict` says for each image whether it is like those that were learned from (`known`), and with a "
            "`coverage` such as 0.9 which set of classes holds the right one as often. That holds for such images, too."
        )
    verdict = verdict_of(record)
    if verdict and verdict["outcome"] != "better":
        yield f"On the test images it is not better than {plain(verdict['against'])}."
    yield "It was not tested for safety or fairness, and is no medical device."


def _metadata(name: str, task: Task[Any], record: Mapping[str, Any], encoders: Sequence[Needed]) -> ModelCardData:
    from huggingface_hub import ModelCardData

    bases = list(dict.fromkeys(one for encoder in encoders for one in encoder.hub_ids))
    tags = ["acclimate", _slug(record["method"]), "few-shot", "vision-language", "adapter"]
    told: dict[str, Any] = {**_licence(encoders), "library_name": "acclimate", "tags": tags}
    told |= {"base_model": bases} if bases else {}
    told |= {"pipeline_tag": task.hub_task} if task.hub_task else {}
    if results := list(_results(task, record)):
        told |= {"model_name": name.rpartition("/")[2], "eval_results": results}
    return ModelCardData(**told)


def _licence(encoders: Collection[Needed]) -> dict[str, str]:
    """Return the licence of the weights beneath, in the Hub's words: of several, only where they are one."""
    known = {licence for one in encoders for licence in one.licences}
    only = known.pop() if len(known) == 1 else None
    return {"license": LICENCES[only]} if only in LICENCES else {"license": "other", "license_name": _slug(only)}


def _results(task: Task[Any], record: Mapping[str, Any]) -> Iterator[EvalResult]:
    """Yield every figure of every test, in the form of the Hub."""
    from huggingface_hub import EvalResult

    from acclimate.metrics import find_figure, get_measure

    for test, metrics in tests_of(record):
        data = record["data"]["name"] if test == "test" else test
        for figure in task.shown(metrics):
            found = find_figure(metrics, figure)
            assert found is not None  # it is shown
            yield EvalResult(
                task_type=task.hub_task or _slug(task.title),
                task_name=task.title,
                dataset_type=_slug(data),
                dataset_name=str(data),
                dataset_split="test",
                metric_type=figure,
                metric_name=get_measure(figure).title.removesuffix(" (%)"),
                metric_value=found["value"],
                metric_args={"low": found["low"], "high": found["high"]} if "low" in found else None,
            )


def _slug(text: str | None) -> str:
    return re.sub(r"[^a-z0-9]+", "-", (text or "").lower()).strip("-") or "unknown"

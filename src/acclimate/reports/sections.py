"""What a page says of one run, as plain values for its template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.data.bands import named
from acclimate.methods import get_method
from acclimate.options import make_config
from acclimate.reports import charts
from acclimate.reports.checks import check_of
from acclimate.reports.features import MAPPED, Features, Onlooker
from acclimate.reports.galleries import Gallery, galleries_by, galleries_of_classes, gallery_of_changes
from acclimate.reports.pictures import SMALL
from acclimate.reports.plane import describe_plane
from acclimate.reports.prompts import nearest_domains, nearest_words
from acclimate.telling.tables import figures_table
from acclimate.telling.words import expectation_sentence, shots_text, verdict_sentence

if TYPE_CHECKING:
    from acclimate.reports.pictures import Thumbnail, Thumbnails
    from acclimate.reports.run_facts import RunFacts

WIDEST = 30  # classes of a confusion matrix that is shown whole
PAIRS = 20  # pairs of classes that are named where it is not
JUDGED = {"cider_d": "captions", "vqa_accuracy": "answers", "agreement": "labels"}

Row = Mapping[str, Any]


def describe_run(run: RunFacts, thumbnails: Thumbnails, onlooker: Onlooker | None) -> dict[str, Any]:
    """Return what the page says of a run.

    Args:
        run: what its folder says.
        thumbnails: make small copies of images.
        onlooker: loads its model; none: nothing is shown that needs it.
    """
    record, method = run.record, get_method(run.record["method"])
    splits, counts = run.split_counts()
    seconds, thumbnail = record["cost"]["seconds"], partial(thumbnails.of, bands=run.bands)
    return {
        "path": str(run.path),
        "name": f"{record['method']} on {record['data']['name']}",
        "title": method.title,
        "facts": _facts(run),
        "data": {
            "splits": splits,
            "counts": counts,
            "skipped": record["data"].get("skipped", []),
            "check": check_of(run),
        },
        "tests": [_test(run, name, thumbnail, onlooker) for name, _ in run.measured()],
        "expectation": expectation_sentence(record),
        "curve": charts.learning_curve(record["learning_curve"]) if record.get("learning_curve") else "",
        "words": nearest_words(model, run.domains) if (model := onlooker and onlooker.model) else None,
        "reading": record.get("reading", []),
        "seconds": {name: f"{value:.1f}" for name, value in seconds.items()},
        "versions": {**record["environment"]["versions"], "python": record["environment"]["python"]},
        "command": _command(run),
        "cite": _cite(run, method.paper),
    }


def _facts(run: RunFacts) -> dict[str, str]:
    record = run.record
    memory = record["cost"]["peak_memory"]["process_mib"]
    found = {
        "learned from": f"{shots_text(record['shots'])}, seed {record['seed']}",
        "split": _split_rule(record["data"]),
        "backbone": record["backbone"]["id"],
        "bands": named(run.bands) if run.bands else "",
        "domain encoder": (record.get("domain_encoder") or {}).get("id", ""),
        "domain of the words": record.get("domain", ""),
        "learned numbers": f"{record['cost']['learned_parameters']:,}",
        "time": f"{record['cost']['seconds'].get('total', 0):.0f} s on {record['environment']['device']}",
        "memory": f"{memory:.0f} MiB",
    }
    return {name: value for name, value in found.items() if value}


def _split_rule(data: Mapping[str, Any]) -> str:
    """Return where the split is from; of several data sets, of each."""
    made = data.get("split_made") or {}
    if "sets" in made:
        return "; ".join(
            f"{name} {_split_rule({'split': 'given', 'split_made': of})}" for name, of in made["sets"].items()
        )
    return f"made by acclimate, rule {made['rule']}, seed {made['seed']}" if made else str(data["split"])


def _test(run: RunFacts, test: str, thumbnail: Thumbnail, onlooker: Onlooker | None) -> dict[str, Any]:
    metrics, task = dict(run.measured())[test], run.task
    verdict, rows = run.verdict(test), run.said(test)
    head, details = task.details(metrics) or ([], [])
    found: dict[str, Any] = {
        "name": test,
        "verdict": verdict_sentence(run.record["method"], verdict) if verdict else "",
        "confused": task.confusions(metrics),
        "floor": task.floor(metrics),
        "table": figures_table(task, run.rows(test), run.record["method"]),
        "details": {"head": head, "rows": details},
        "confusion": _confusion(metrics) if "confusion_matrix" in metrics else None,
        "sets": metrics.get("sets", {}),
        "reliability": "",
        "galleries": [],
        "looked": False,
        "map": None,
        "domains": None,
        "kept": run.predictions is not None,
    }
    if rows:
        found |= _shown(run, test, rows, thumbnail, onlooker)
    return found


def _shown(
    run: RunFacts, test: str, rows: Sequence[Row], thumbnail: Thumbnail, onlooker: Onlooker | None
) -> dict[str, Any]:
    """Return the galleries, the chart of reliability and the map of images whose predictions were kept."""
    one_each = run.task.exclusive and "probability" in rows[0]
    judged = next((name for name in JUDGED if name in rows[0]), None)
    galleries = list(galleries_of_classes(rows)) if one_each else []
    for name in run.record.get("ablations", {}) if one_each else ():
        others = run.said(test, name)
        if others and (changed := gallery_of_changes(rows, others, name)):
            galleries.append(changed)
    galleries += galleries_by(rows, judged, JUDGED[judged]) if judged else []
    step = -(-len(rows) // MAPPED)
    mapped = [row for row in rows[::step] if row["path"]] if one_each else []
    chosen = [row for some in zip_longest(*(one.rows for one in galleries)) for row in some if row is not None]
    looked = onlooker.look_at(test, chosen, mapped) if onlooker else None
    found: dict[str, Any] = {"galleries": [_gallery(one, thumbnail, looked) for one in galleries]}
    found["looked"] = bool(looked and looked.maps)
    if one_each:
        confidence = np.array([row["probability"] for row in rows], dtype=float)
        right = np.array([row["label"] == row["predicted"] for row in rows])
        found["reliability"] = charts.reliability(confidence, right)
    if looked:
        found["map"] = describe_plane(looked, mapped, thumbnail)
    if model := onlooker and onlooker.serving(test):
        found["domains"] = nearest_domains(model, [row for row in mapped if Path(row["path"]).is_file()], run.domains)
    return found


def _gallery(gallery: Gallery, thumbnail: Thumbnail, looked: Features | None) -> dict[str, Any]:
    """Return the images of a gallery, each with where the model looked, its words and its nearest training images."""
    cells = []
    for row in gallery.rows:
        near = looked.nearest(row["path"]) if looked else []
        cells.append(
            {
                "image": thumbnail(row),
                "map": looked.maps.get(row["path"], "") if looked else "",
                "name": row["key"],
                "lines": _words(row),
                "wrong": "predicted" in row and row["label"] != row["predicted"],
                "near": [{"image": thumbnail(one, SMALL), "label": one["label"], "name": one["key"]} for one in near],
            }
        )
    return {"title": gallery.title, "about": gallery.about, "total": gallery.total, "cells": cells}


def _words(row: Row) -> list[str]:
    """Return what is said of an image in a gallery, line by line."""
    if "agreement" in row:
        return [row["predicted"] or "no label", f"is {row['label'] or 'no label'}"]
    if "predicted" in row:
        lines = [f"{row['predicted']} {100 * row['probability']:.0f} %"]
        lines += [f"is {row['label']}"] if row["label"] != row["predicted"] else []
        lines += [row["instead"]] if "instead" in row else []
        lines += [f"set: {row['set'].replace('|', ', ')}"] if row.get("set") and "|" in row["set"] else []
        return lines + ([f"unknown, p = {row['p_known']:.3f}"] if row.get("known") is False else [])
    if "caption" in row:
        return [row["caption"]]
    return [row["question"], f"{row['answer']} (people: {row['expected']})"]


def _confusion(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the confusion matrix with the share of each class, or the commonest confusions where it is too wide."""
    matrix, names = np.array(metrics["confusion_matrix"]), list(metrics["class_names"])
    support = matrix.sum(axis=1, keepdims=True).clip(1)
    if len(names) <= WIDEST:
        rows = [
            {"name": name, "cells": [{"count": int(n), "share": float(s)} for n, s in zip(*pair, strict=True)]}
            for name, *pair in zip(names, matrix, matrix / support, strict=True)
        ]
        return {"names": names, "rows": rows, "pairs": []}
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = [tuple(map(int, np.unravel_index(place, wrong.shape))) for place in order]
    pairs = [
        {"of": names[k], "called": names[j], "count": int(wrong[k, j]), "support": int(support[k, 0])}
        for k, j in places
        if wrong[k, j]
    ]
    return {"names": [], "rows": [], "pairs": pairs}


def _command(run: RunFacts) -> str:
    """Return the command that makes such a run, with all settings that are not the defaults."""
    record, method = run.record, get_method(run.record["method"])
    encoder, usual = record.get("domain_encoder") or {}, vars(make_config(method.Config, {}))
    options = [("method", record["method"]), ("backbone", record["backbone"]["id"])]
    options += [("shots", record["shots"]), ("seed", record["seed"])]
    options += [("domain-encoder", encoder.get("id")), ("domain", record.get("domain"))]
    options += [("bands", named(run.bands) if run.bands else None)]
    config = run.adapter["config"].items()
    changed = [(name, value) for name, value in config if name not in usual or _plain(usual[name]) != _plain(value)]
    options += [("set", f"{name}={value}") for name, value in changed]
    told = [word for name, value in options if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(["acclimate", "adapt", "DATA", *told])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _cite(run: RunFacts, paper: str) -> list[str]:
    """Return what a text that reports these figures should name."""
    lines = [f"acclimate {run.adapter.get('acclimate', '')}, method {run.record['method']}"]
    lines += [f"The method: {paper}"] if paper else []
    return [*lines, f"The backbone: {run.record['backbone']['id']} ({run.record['backbone']['fingerprint']})"]

"""Properties of the files that betray the label: a model may learn the scanner instead of the disease.

Two kinds are told apart. *File* properties (size, aspect, mode, format, JPEG quantisation) say nothing about the
subject; when they predict the class, it is by the way the images were made. *Appearance* (brightness, contrast, bytes
per pixel) may be part of the subject: snow is bright.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acclimate.data.check.facts import Fact
from acclimate.data.check.report import Finding, Level
from acclimate.data.dataset import ImageData
from acclimate.data.ordering import draw

FILE = ("width", "height", "aspect", "mode", "format", "jpeg_step")
APPEARANCE = ("brightness", "contrast", "bytes_per_pixel")

SKILL = 0.1
"""Skill from which file properties are a warning: (balanced accuracy - chance) / (1 - chance)."""

APPEARANCE_SKILL = 0.5
"""Skill from which appearance is a warning; from `SKILL` on it is mentioned."""

_BINS = 10
_FOLDS = 5
_MOST_ROWS = 5000
_FEWEST_PER_CLASS = 10


def find_shortcuts(
    data: ImageData, facts: Sequence[Fact | None]
) -> tuple[list[Finding], dict[str, dict[str, float | str]]]:
    """Report how well the class can be told from file properties, and from appearance, without looking at the images.

    A small decision tree is cross-validated (5 folds that keep groups whole) on the properties alone, on at most 5,000
    images; classes with fewer than 10 are left out. Returned beside the findings: for each property its median, its
    range, and the share of the label's entropy that it explains (mutual information over ten quantile bins, corrected
    for chance).
    """
    rows = [row for row, fact in enumerate(facts) if fact is not None]
    if not rows:
        return [], {}
    rows = sorted(sorted(rows, key=lambda row: draw(0, "shortcuts", data.keys[row]))[:_MOST_ROWS])
    columns, names = _columns([fact for row in rows if (fact := facts[row]) is not None])
    labels = data.labels[rows]
    groups = _group_numbers(data, rows)
    statistics = {name: _describe(values, labels, names.get(name)) for name, values in columns.items()}
    findings = []
    for title, members, bar in (("file", FILE, SKILL), ("appearance", APPEARANCE, APPEARANCE_SKILL)):
        varied = [name for name in members if len(np.unique(columns[name])) > 1]
        result = _predict(np.stack([columns[name] for name in varied], 1), labels, groups) if varied else None
        if result is None:
            continue
        score, error, chance = result
        skill = (score - chance) / (1 - chance)
        if skill < SKILL or score - chance < 3 * error:
            continue
        level: Level = "warning" if skill >= bar else "info"
        best = sorted(varied, key=lambda name: -float(statistics[name]["explains"]))[:3]
        clue = _contrast(data, labels, columns[best[0]], best[0], names.get(best[0]))
        what = "file properties alone" if title == "file" else "brightness, contrast and compression alone"
        advice = (
            "make the files alike (same size, mode and format) or mind it in the results"
            if title == "file"
            else "mind it in the results"
        )
        text = (
            f"{what} tell the class with balanced accuracy {score:.2f} (chance {chance:.2f}), most by "
            f"{', '.join(best)} ({clue}); a model may "
            f"learn this instead of the subject: {advice}"
        )
        findings.append(
            Finding(
                level, "shortcut" if title == "file" else "appearance", text, len(best), tuple((name,) for name in best)
            )
        )
    return findings, statistics


def _columns(facts: list[Fact]) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return every property as numbers, and the words behind the numbers of those that are words."""
    width, height = np.array([[fact.width, fact.height] for fact in facts], float).T
    words = {"mode": [fact.mode for fact in facts], "format": [fact.format for fact in facts]}
    names = {name: sorted(set(values)) for name, values in words.items()}
    size = np.array([fact.size for fact in facts], float)
    columns = {
        "width": width,
        "height": height,
        "aspect": width / height,
        **{name: np.array([names[name].index(value) for value in values], float) for name, values in words.items()},
        "jpeg_step": np.array([fact.jpeg_step for fact in facts]),
        "brightness": np.array([fact.brightness for fact in facts]),
        "contrast": np.array([fact.contrast for fact in facts]),
        "bytes_per_pixel": size / (width * height),
    }
    return columns, names


def _group_numbers(data: ImageData, rows: list[int]) -> np.ndarray:
    names = [("group", data.groups[row]) if data.groups[row] else ("key", data.keys[row]) for row in rows]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def _describe(values: np.ndarray, labels: np.ndarray, words: list[str] | None) -> dict[str, float | str]:
    explained = round(explains(values, labels, words is not None), 4)
    if words is not None:
        shares = np.bincount(values.astype(int), minlength=len(words)) / len(values)
        return {"most": words[int(shares.argmax())], "share": round(float(shares.max()), 4), "explains": explained}
    low, median, high = (round(float(value), 4) for value in np.percentile(values, (0, 50, 100)))
    return {"median": median, "low": low, "high": high, "explains": explained}


def explains(values: np.ndarray, labels: np.ndarray, discrete: bool) -> float:
    """Return the share of the label's entropy, 0..1, that a property explains: I(X; Y) / H(Y), X in ten quantile bins.

    The plug-in estimate of I is too large by about (bins - 1)(classes - 1) / 2N nats (Miller 1955), which is
    subtracted.
    """
    if discrete:
        bins = values.astype(int)
    else:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, values, side="left")
    table = np.zeros((bins.max() + 1, labels.max() + 1))
    np.add.at(table, (bins, labels), 1)
    table = table[table.any(1)][:, table.any(0)]
    joint = table / table.sum()
    entropy = -sum(share * np.log(share) for share in joint.sum(0))
    if entropy <= 0:
        return 0.0
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    information = float((joint[joint > 0] * np.log(joint[joint > 0] / outer[joint > 0])).sum())
    bias = (table.shape[0] - 1) * (table.shape[1] - 1) / (2 * len(values))
    return float(min(1.0, max(0.0, (information - bias) / entropy)))


def _predict(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[float, float, float] | None:
    """Return balanced accuracy, its standard error and chance of a tree on features (N, F), or None."""
    from sklearn.tree import DecisionTreeClassifier

    by_class = {label: len(np.unique(groups[labels == label])) for label in np.unique(labels)}
    classes = [label for label, count in by_class.items() if count >= _FEWEST_PER_CLASS]
    if len(classes) < 2:
        return None
    kept = np.isin(labels, classes)
    features, labels, groups = features[kept], labels[kept], groups[kept]
    guess = np.full(len(labels), -1)
    fold = _folds(labels, groups)
    for number in range(_FOLDS):
        train, test = fold != number, fold == number
        tree = DecisionTreeClassifier(max_depth=6, min_samples_leaf=5, class_weight="balanced", random_state=0)
        guess[test] = tree.fit(features[train], labels[train]).predict(features[test])
    recalls = np.array([np.mean(guess[labels == label] == label) for label in classes])
    # Images of one group are one observation, so the standard error counts groups.
    spread = np.array(
        [
            max(recall * (1 - recall), 0.25 / by_class[label]) / by_class[label]
            for recall, label in zip(recalls, classes, strict=True)
        ]
    )
    return float(recalls.mean()), float(np.sqrt(spread.sum()) / len(classes)), 1 / len(classes)


def _folds(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Deal whole groups, ordered by class, to the folds in turn; return the fold of every row."""
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(len(names))
    turn = np.empty(len(names), int)
    turn[shuffled[np.argsort(labels[first][shuffled], kind="stable")]] = np.arange(len(names)) % _FOLDS
    return turn[member]


def _contrast(data: ImageData, labels: np.ndarray, values: np.ndarray, name: str, words: list[str] | None) -> str:
    """Say in which classes a property differs most."""
    classes = np.unique(labels)
    if words is not None:
        share = np.array(
            [[np.mean(values[labels == label] == code) for code in range(len(words))] for label in classes]
        )
        code = int((share.max(0) - share.min(0)).argmax())
        high, low = int(share[:, code].argmax()), int(share[:, code].argmin())
        parts = (f"{share[at, code]:.0%} {words[code]} in {data.class_names[classes[at]]}" for at in (high, low))
        return ", ".join(parts)
    medians = [float(np.median(values[labels == label])) for label in classes]
    low, high = int(np.argmin(medians)), int(np.argmax(medians))
    parts = (f"{medians[at]:.3g} in {data.class_names[classes[at]]}" for at in (low, high))
    return f"median {name} {', '.join(parts)}"

"""A look at how reference prompts were read: which sentences of an image were kept, and what it says in their terms."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from acclimate.errors import ConfigError, DataError
from acclimate.files import replace_file
from acclimate.runs import folder
from acclimate.training.features import text_features
from acclimate.training.serving import REFERENCES

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.data import ImageData
    from acclimate.methods import Method, Reading

SHOWN = 8  # images
NAMED = 3  # sentences kept, dropped and nearest
WIDEST = 60  # characters of a sentence in the picture


def look(
    reading: Reading,
    backbone: DualEncoder,
    images: ImageData,
    sentences: Sequence[Sequence[str]],
    run: Path | None,
    cache_dir: Path | None = None,
    named: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return what a record says of a few training images, and draw it into the run folder.

    They are the images that are named; without a name, with classes, those least like the template of their class, one
    of each.

    Args:
        reading: of the training images.
        backbone: whose features were read.
        images: the training images.
        sentences: the reference prompts of each image.
        run: run folder, for the picture; none draws nothing.
        cache_dir: folder of the feature cache; none computes features anew.
        named: keys of training images, see `rows_of`.

    Returns:
        For each image its key (`image`), `class`, and `template_cosine`, the cosine with the template; the sentences
        most and least attended to (`kept`, `dropped`), each with its share in units of an equal share, and those
        nearest to the generated prompt among all sentences (`nearest`), each with its cosine.

    Raises:
        RunError: the picture cannot be written.
    """
    likeness = reading.template_cosines
    distinct = list(dict.fromkeys(sentence for some in sentences for sentence in some))
    known = F.normalize(text_features(backbone, distinct, cache_dir), dim=-1)
    found = []
    for row in rows_of(named, images) or _chosen(images, likeness):
        near = (known @ reading.prompts[row]).topk(min(NAMED, len(distinct)))
        entry: dict[str, Any] = {"image": images.keys[row]}
        if likeness is not None:
            entry |= {"class": images.label_names[row], "template_cosine": float(likeness[row])}
        if reading.attention is not None:
            shares = reading.attention[row, : len(sentences[row])]
            ordered = (shares / shares.mean()).sort(descending=True)
            ranked = [
                [sentences[row][place], share]
                for place, share in zip(ordered.indices.tolist(), ordered.values.tolist(), strict=True)
            ]
            entry |= {"kept": ranked[:NAMED], "dropped": ranked[NAMED:][-NAMED:]}
        entry["nearest"] = [
            [distinct[place], cosine] for cosine, place in zip(near.values.tolist(), near.indices.tolist(), strict=True)
        ]
        found.append(entry)
    if run is not None:
        _draw(found, images, run / folder.READING)
    return found


def check_named(named: Sequence[str], images: ImageData, method: type[Method], config: object) -> None:
    """Refuse, before anything is learned, to look at images that will have no reading.

    Raises:
        ConfigError: the method reads no reference prompts with these settings.
        DataError: an image is not among those that are learned from.
    """
    if named and REFERENCES not in method.loss_needs_of(config):
        raise ConfigError(
            f"{method.name} reads no reference prompts with these settings, so there is nothing to see of {named[0]}; "
            "leave out --look-at, or use --method aape"
        )
    rows_of(named, images)


def rows_of(named: Sequence[str], images: ImageData) -> list[int]:
    """Return the rows of training images that are named by their keys, or by paths that end with these.

    Raises:
        DataError: an image is not among them.
    """
    rows = []
    for name in named:
        found = [row for row, key in enumerate(images.keys) if f"/{name}".endswith(f"/{key}")]
        if not found:
            raise DataError(
                f"{images.name}: {name} is not among the {len(images)} images that are learned from, such as "
                f"{images.keys[0]}; name one of these, or learn from more (--shots all)"
            )
        rows += found
    return rows


def _chosen(images: ImageData, likeness: Tensor | None) -> list[int]:
    """Return rows: of each class the image least like its template, the least of all first; else at equal steps."""
    if likeness is None:
        return np.unique(np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)).tolist()
    order = likeness.argsort().tolist()
    first: dict[int, int] = {}
    for row in order:
        first.setdefault(int(images.labels[row]), row)
    return list(first.values())[:SHOWN]


def _draw(entries: Sequence[dict[str, Any]], images: ImageData, path: Path) -> None:
    """Write a picture of such entries: each image with its sentences and their shares."""
    from matplotlib.figure import Figure

    rows = {key: row for row, key in enumerate(images.keys)}
    figure = Figure(figsize=(11, 2.2 * len(entries)), layout="constrained")
    axes = figure.subplots(len(entries), 2, width_ratios=(1, 4), squeeze=False)
    for (left, right), entry in zip(axes, entries, strict=True):
        left.imshow(np.asarray(images.image(rows[entry["image"]])))
        left.set_axis_off()
        left.set_title(entry.get("class", ""), fontsize=9)
        bars = [*entry.get("kept", ()), *entry.get("dropped", ())]
        right.barh(
            range(len(bars)), [share for _, share in bars], color=["tab:blue" if s > 1 else "0.7" for _, s in bars]
        )
        right.axvline(1.0, color="black", linewidth=0.8)  # an equal share
        right.set_yticks(range(len(bars)), [_short(sentence) for sentence, _ in bars], fontsize=7)
        right.invert_yaxis()
        right.set_title(f"nearest to h(x): {_short(entry['nearest'][0][0])}", fontsize=8, loc="left")
        right.tick_params(axis="x", labelsize=7)
    axes[-1][1].set_xlabel("attention, in equal shares", fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    replace_file(path, stream.getvalue())


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= WIDEST else sentence[: WIDEST - 3] + "..."

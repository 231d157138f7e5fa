"""Prompt attribution: which sentences a few training images have learned from, for the record and as a figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from acclimate.backbones.backbone import as_dual
from acclimate.errors import ConfigError, DataError
from acclimate.files import replace_file
from acclimate.methods import PromptAttributor
from acclimate.runs import folder
from acclimate.runs.parts import RunPart
from acclimate.training.encoding import text_features

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.methods import Method, PromptAttribution
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles

SHOWN = 8  # images
NAMED = 3  # sentences kept, dropped and nearest
WIDEST = 60  # characters of a sentence in the figure


class Attribution(RunPart):
    """A look at a few training images: those that are named, else those least like the template of their class.

    Args:
        named: keys of training images, see `rows_of`; none chooses one of each class.
        experiment: the run.

    Raises:
        ConfigError: images are named, and the method reads no reference prompts with these settings.
        DataError: an image is not among those that are learned from.
    """

    def __init__(self, named: Sequence[str], experiment: Experiment) -> None:
        kind, self.named = experiment.method, tuple(named)
        reads = issubclass(kind, PromptAttributor) and kind.inputs_of(experiment.config).reference_prompts
        if named and not reads:
            raise ConfigError(
                f"{kind.name} reads no reference prompts with these settings, so there is nothing to see of "
                f"{named[0]}; leave out `look_at`, or use `method='aape'`"
            )
        self.rows = rows_of(self.named, experiment.trial.train)

    def files(self) -> Mapping[str, str]:
        """Return the names of the images."""
        return {"look_at": "\n".join(self.named)} if self.named else {}

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return what the record says of the images, and draw it into the run folder.

        Raises:
            RunError: the figure cannot be written.
        """
        if not isinstance(method, PromptAttributor):
            return {}
        found = method.attribution(experiment.feed(method, "train", method.inputs.all))
        references = experiment.task.references(experiment.reference_prompts)
        if found is None or references is None:
            return {}
        train = experiment.trial.train
        sets, owners = references.sets(train)
        sentences = [sets[owner] for owner in owners]
        distinct = list(dict.fromkeys(sentence for some in sentences for sentence in some))
        backbone = as_dual(experiment.backbone, "prompt attribution")
        known = F.normalize(text_features(backbone, distinct, experiment.options.cache_dir), dim=-1)
        rows = self.rows or _chosen(train, found.template_cosines)
        entries = [_entry(row, found, train, sentences[row], distinct, known) for row in rows]
        if files.written is not None:
            _draw(entries, train, files.written / folder.READING)
        return {"reading": entries}


def _entry(
    row: int,
    found: PromptAttribution,
    images: ImageData,
    sentences: Sequence[str],
    distinct: Sequence[str],
    known: Tensor,
) -> dict[str, Any]:
    """Return what the record says of one image.

    Args:
        row: of the image.
        found: of all training images.
        images: the training images.
        sentences: the reference prompts of this one.
        distinct: all sentences.
        known: their directions.

    Returns:
        Its key (`image`), `class`, and `template_cosine`, the cosine with the template; the sentences most and least
        attended to (`kept`, `dropped`), each with its share in units of an equal share, and those nearest to the
        generated prompt among all sentences (`nearest`), each with its cosine.
    """
    entry: dict[str, Any] = {"image": images.keys[row]}
    if found.template_cosines is not None:
        entry |= {"class": images.label_names[row], "template_cosine": float(found.template_cosines[row])}
    if found.attention is not None:
        shares = found.attention[row, : len(sentences)]
        ordered = (shares / shares.mean()).sort(descending=True)
        pairs = zip(ordered.indices.tolist(), ordered.values.tolist(), strict=True)
        ranked = [[sentences[place], share] for place, share in pairs]
        entry |= {"kept": ranked[:NAMED], "dropped": ranked[NAMED:][-NAMED:]}
    near = (known @ found.prompts[row]).topk(min(NAMED, len(distinct)))
    pairs = zip(near.indices.tolist(), near.values.tolist(), strict=True)
    entry["nearest"] = [[distinct[place], cosine] for place, cosine in pairs]
    return entry


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
                f"{images.keys[0]}; name one of these, or learn from more (`shots='all'`)"
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
    """Write a figure of such entries: each image with its sentences and their shares."""
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

"""The head of a classifier, beside the domain encoder whose features it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acclimate.errors import RunError
from acclimate.files import fingerprint, read_json, write_json
from acclimate.pretraining.labelled import Slices
from acclimate.training.checkpoint import read_tensors, save_tensors
from acclimate.training.fine_tuning import VisionClassifier

HEAD, HEAD_INFO = "head.safetensors", "head.json"


@dataclass(frozen=True)
class KnownHead:
    """The head of a classifier: o = A h(x) + b, with h(x) the features that its domain encoder gives.

    Attributes:
        weight: A (C, F).
        bias: b (C,).
        sets: for each data set, by name, its `labels`, the `first` of its outputs, and whether an image may have
            `several`.
    """

    weight: Tensor
    bias: Tensor
    sets: Mapping[str, Mapping[str, Any]]

    @property
    def fingerprint(self) -> str:
        """Hash of what it is."""
        return fingerprint([self.weight.tolist(), self.bias.tolist(), self.sets])

    @torch.no_grad()
    def fill(self, network: VisionClassifier, slices: Slices) -> list[str]:
        """Put what it knows of data sets with the very same labels into a new head; return their names."""
        kept = []
        for name, own in slices.to_dict().items():
            known = next((row for row in self.sets.values() if _alike(row, own)), None)
            if known is not None and self.weight.shape[1] == network.encoder.width:
                rows, count = slice(known["first"], known["first"] + len(own["labels"])), len(own["labels"])
                place = slice(own["first"], own["first"] + count)
                network.head.weight[place], network.head.bias[place] = self.weight[rows], self.bias[rows]
                kept.append(name)
        return kept


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["labels"] == other["labels"] and one["several"] == other["several"]


def read_head(path: Path) -> KnownHead | None:
    """Return the head of a folder that `pretrain_classifier` has written; none where there is none.

    Raises:
        RunError: it is damaged.
    """
    if not (path / HEAD).is_file() or not (path / HEAD_INFO).is_file():
        return None
    tensors, _ = read_tensors(path / HEAD)
    advice = "restore the file, or delete it and head.safetensors to begin with a new head"
    info = read_json(path / HEAD_INFO, advice)
    try:
        sets = {name: {key: row[key] for key in ("first", "labels", "several")} for name, row in info["sets"].items()}
        head = KnownHead(tensors["weight"], tensors["bias"], sets)
        if any(not 0 <= row["first"] <= len(head.bias) - len(row["labels"]) for row in sets.values()):
            raise ValueError("outputs that are not there")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path / HEAD_INFO}: an entry is missing or wrong ({error}); {advice}") from None
    return head


def write_head(path: Path, network: VisionClassifier, slices: Slices) -> None:
    """Write the head of a network into a folder, and which of its outputs stand for what.

    Raises:
        RunError: it cannot be written.
    """
    save_tensors(dict(network.head.state_dict()), path / HEAD)
    write_json(path / HEAD_INFO, {"sets": slices.to_dict()})

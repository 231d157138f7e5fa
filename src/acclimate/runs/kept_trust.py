"""`calibration.safetensors`: the `Trust` of a run, written and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from acclimate.errors import RunError
from acclimate.methods.trust import HeldOut, Known, Look, Trust
from acclimate.runs import folder
from acclimate.training.checkpoint import read_tensors, save_tensors


def keep_trust(path: Path, trust: Trust | None) -> None:
    """Write it into a run folder, or remove that of another run which was here, where there is none.

    Raises:
        RunError: the file cannot be written.
    """
    file = path / folder.CALIBRATION
    if trust is None:
        file.unlink(missing_ok=True)
        return
    tensors: dict[str, NDArray[Any]] = {}
    told: dict[str, Any] = {"class_names": trust.class_names}
    if (held := trust.held_out) is not None:
        told["source"] = held.source
        tensors |= {"probabilities": held.probabilities, "labels": held.labels, "groups": held.groups}
    if (known := trust.known) is not None:
        told["known"] = vars(known.look)
        tensors |= {"known": known.features, "known_groups": known.groups}
    content = {name: torch.from_numpy(values) for name, values in tensors.items()}
    save_tensors(content, file, {"calibration": json.dumps(told)})  # several entries would have no order


def read_trust(path: Path, trained_classes: Sequence[str]) -> Trust | None:
    """Read it from a run folder; none where there is none, as in runs of earlier releases.

    Raises:
        RunError: the file is damaged, or of a run with other classes.
    """
    file = path / folder.CALIBRATION
    if not file.exists():
        return None
    tensors, metadata = read_tensors(file)
    try:
        told = json.loads(metadata["calibration"])
        names = tuple(told["class_names"])
        held_out = known = None
        if "source" in told:
            parts = [tensors[name].numpy() for name in ("probabilities", "labels", "groups")]
            held_out = HeldOut(parts[0], parts[1], parts[2], told["source"])
            fits = parts[0].shape == (len(parts[1]), len(names)) and parts[1].shape == parts[2].shape
            if not fits or not 0 <= int(parts[1].min()) <= int(parts[1].max()) < len(names):
                raise ValueError("shapes that do not belong together")
        if "known" in told:
            known = Known(Look(**told["known"]), tensors["known"].numpy(), tensors["known_groups"].numpy())
            if known.features.ndim != 2 or len(known.features) != len(known.groups):
                raise ValueError("shapes that do not belong together")
        if names != tuple(trained_classes):
            raise ValueError("another run's classes")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{file} is damaged ({error}); restore it, or delete it: predictions need no sets") from None
    return Trust(names, held_out, known)

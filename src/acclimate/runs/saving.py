"""Saving an adapted model: the run folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate import arguments
from acclimate.data.frozen import write_splits
from acclimate.files import write_json
from acclimate.runs import folder
from acclimate.runs.kept_predictions import keep_predictions
from acclimate.runs.kept_trust import keep_trust
from acclimate.runs.places import PLACES, describe_places
from acclimate.runs.seen import keep_images
from acclimate.training.checkpoint import save_tensors

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel


def save_run(model: AdaptedModel, out: str | os.PathLike[str]) -> Path:
    """Write the run folder; `record.json` comes last and marks it complete.

    Raises:
        RunError: when the folder holds other things or cannot be written.
        ConfigError: `out` is no path.
    """
    path = folder.open_folder(arguments.path("out", out))
    save_tensors(model.method.learned_state(), path / folder.ADAPTER, {"method": model.method.name})
    write_json(path / folder.ADAPTER_INFO, model.describe())
    if model.frozen is not None:
        write_splits(model.frozen, path / folder.SPLITS)
    keep_images(path, model.seen_before)
    keep_trust(path, model.trust or model.laid_aside)
    keep_predictions(path, model.predictions)
    folder.write_lines(path / folder.LOG, model.journal)
    encoders = {"backbone": model.backbone, "domain_encoder": model.method.domain_encoder}
    kept = {name: entry for name, entry in model.record.items() if name != PLACES}
    model.record = kept | describe_places(path, encoders)
    write_json(path / folder.RECORD, model.record)
    return path

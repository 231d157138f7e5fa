"""Learning that goes on from what an earlier run has learned."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from acclimate.data import ImageData, load_splits
from acclimate.errors import ConfigError, DataError
from acclimate.files import read_json
from acclimate.runs import folder
from acclimate.runs.model import load
from acclimate.runs.prompt_labels import digest

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder


@dataclass(frozen=True)
class Start:
    """What a run begins with, in place of values drawn from the seed.

    Attributes:
        run: the earlier run.
        sha256: of its adapter.
        state: its learned tensors, by name.
    """

    run: str
    sha256: str
    state: dict[str, Tensor]

    def describe(self) -> dict[str, str]:
        """Return what a record says of it."""
        return {"run": self.run, "sha256": self.sha256}


def read_start(
    given: str | os.PathLike[str] | None,
    method: str,
    backbone: DualEncoder,
    measured: Iterable[ImageData],
    domain_encoder: DomainEncoder | None = None,
) -> Start | None:
    """Return what an earlier run has learned, if this one may go on from there.

    Args:
        given: folder of the earlier run; none gives none.
        method: that of this run.
        backbone: that of this run.
        measured: images that this run will be measured on, of which the earlier one may have seen none.
        domain_encoder: that of this run, or none.

    Raises:
        RunError: it is no finished run, or has another backbone or domain encoder.
        ConfigError: it has another method.
        DataError: it has seen images that this run will be measured on.
    """
    if given is None:
        return None
    run = Path(given)
    info = read_json(run / folder.ADAPTER_INFO, "give the folder of a finished run to --start")
    if info.get("method") != method:
        raise ConfigError(f"--start {run} holds what {info.get('method')} has learned, and this run is of {method}")
    state = load(run, backbone, domain_encoder=domain_encoder).method.learned_state()
    if (run / folder.SPLITS).exists():
        frozen = load_splits(run / folder.SPLITS)["splits"]
        seen = {row.get("sha256") for name in ("train", "val") for row in frozen.get(name, ())}
        for data in measured:
            known = [row for row in range(len(data)) if data.digest(row) in seen]
            if known:
                raise DataError(
                    f"{data.name}: --start {run} has learned from {len(known)} of the {len(data)} test images, such as "
                    f"{data.keys[known[0]]}; start from another run, or give the data the split of that run"
                )
    return Start(str(run), digest(run / folder.ADAPTER), {name: tensor.clone() for name, tensor in state.items()})

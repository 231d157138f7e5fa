"""An earlier run that a run goes on from or builds on: one of the right method, which has seen no test image."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.errors import ConfigError
from acclimate.files import file_digest, read_json
from acclimate.runs import folder
from acclimate.runs.loading import load
from acclimate.runs.remote import find_run
from acclimate.runs.seen import Seen, seen_by_run

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment

logger = logging.getLogger("acclimate.runs")


@dataclass(frozen=True)
class Earlier:
    """An earlier run.

    Attributes:
        method: as it has learned.
        seen: which images it has seen.
        sha256: hash of its adapter.
    """

    method: Method
    seen: Seen
    sha256: str


def open_earlier(
    run: Path,
    wanted: str,
    backbone: Backbone,
    domain_encoder: DomainEncoder | None,
    experiment: Experiment,
    *,
    what: str,
    missing: str,
    other: str,
    advice: str,
) -> Earlier:
    """Open a finished run for another one.

    Args:
        run: its folder, or `hf:OWNER/NAME`.
        wanted: the method that it must be of.
        backbone, domain_encoder: that it must have learned on.
        experiment: of the other run, whose test images it may not have seen.
        what: what messages call it.
        missing: the next step where it is no finished run.
        other: how the message ends where it is of another method.
        advice: the next step where it has seen test images.

    Raises:
        RunError: it is no finished run, or has another backbone or domain encoder.
        ConfigError: it has another method.
        DataError: it has seen images that will be measured on.
    """
    run = find_run(run)
    info = read_json(run / folder.ADAPTER_INFO, missing)
    if info.get("method") != wanted:
        raise ConfigError(f"{what} holds what {info.get('method')} has learned{other}")
    method = load(run, backbone, domain_encoder=domain_encoder).method
    seen = seen_by_run(run, what, advice)
    if not seen.all:
        logger.info("%s does not say which images it has seen, so that cannot be checked", what)
    seen.check(experiment)
    return Earlier(method, seen, file_digest(run / folder.ADAPTER))

"""What may be a part of the ensemble: methods that are solved at once, and methods that descend gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from acclimate.methods.aape import AAPE
from acclimate.methods.capabilities import Classifier
from acclimate.methods.clip_lora import CLIPLoRA
from acclimate.methods.coop import CoOp
from acclimate.methods.domain_linear_probe import DomainLinearProbe
from acclimate.methods.gda import GDA
from acclimate.methods.gdpl import GDPL
from acclimate.methods.kernel_ridge import KernelRidge
from acclimate.methods.linear_probe import LinearProbe
from acclimate.methods.two_stage import TwoStage
from acclimate.methods.zs_lp import ZeroShotProbe

GRID = 3


class Candidate(NamedTuple):
    """A method that may be a part.

    Attributes:
        method: it.
        settings: other than its defaults.
        first: how often it is in the ensemble before anything is known.
        domain: whether it needs a domain encoder.
        named: whether it is a candidate only where it is named, and not among all that are suitable.
    """

    method: type[Classifier]
    settings: Mapping[str, Any] = {}
    first: float = 0.0
    domain: bool = False
    named: bool = False


TILED: Mapping[str, Any] = {"tiles": "mean+spread", "grid": GRID}
IMAGES, TEXT = "kernel-ridge", "kernel-ridge-text"
SOLVED: Mapping[str, Candidate] = {
    IMAGES: Candidate(KernelRidge, TILED, first=4.0),
    TEXT: Candidate(KernelRidge, {**TILED, "base": "zero-shot"}),
    "linear-probe": Candidate(LinearProbe, TILED),
    "gda": Candidate(GDA, TILED),
    "domain-linear-probe": Candidate(DomainLinearProbe, TILED, domain=True),
}
TRAINED: Mapping[str, Candidate] = {  # in the order in which a budget is spent on them
    "gdpl": Candidate(GDPL, {"epochs": 6}, domain=True),
    "clip-lora": Candidate(CLIPLoRA, {"epochs": 20}),
    "coop": Candidate(CoOp, {"epochs": 50}),
    "2sfs": Candidate(TwoStage, {"epochs": 20}),
    "zs-lp": Candidate(ZeroShotProbe, {"epochs": 50, "augment": "none"}),
    # without sentences about the classes, which is not the method as published
    "aape": Candidate(AAPE, {"distillation_weight": 0.0, "class_residual": True, "epochs": 50}, named=True),
}
"""Far fewer epochs than their papers take: each is learned once for every fold and once more."""

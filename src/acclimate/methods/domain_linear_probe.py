"""Linear probe on the features of a domain encoder: what that encoder knows without the backbone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.methods.linear_probe import LinearProbe, ProbeConfig
from acclimate.methods.parts.scales import Tiles, input_of, scales, widths
from acclimate.methods.registry import register
from acclimate.training.batch import Batch
from acclimate.training.inputs import DOMAIN, Inputs


@dataclass(frozen=True, kw_only=True)
class DomainLinearProbeConfig(Tiles, ProbeConfig):
    """Settings of the linear probe on a domain encoder."""


@register
class DomainLinearProbe(LinearProbe):
    """Multinomial logistic regression on features of a domain encoder: `linear-probe` with h(x) in place of f(x).

    What a method that reads both the backbone and a domain encoder has to beat, beside the probe on the backbone.

    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.2 and appendix A.3, for the probe.
    """

    name = "domain-linear-probe"
    title = "Linear probe on domain features"
    learns = "per class: width of the domain encoder + 1 numbers"
    inputs = Inputs({DOMAIN})
    baseline = 3
    Config = DomainLinearProbeConfig
    config: DomainLinearProbeConfig  # type: ignore[assignment]

    @classmethod
    def inputs_of(cls, config: DomainLinearProbeConfig) -> Inputs:  # type: ignore[override]
        """Return the features that the settings ask for."""
        return Inputs({input_of(config, DOMAIN)})

    @property
    def width(self) -> int:
        """Width F of the features."""
        assert self.domain_encoder is not None
        return sum(widths(self.config, self.domain_encoder.width))

    def features(self, batch: Batch) -> Tensor:
        """Return the features (B, F) that the probe reads, each scale L2-normalised, see `scales`."""
        return torch.cat(scales(batch, self.config, DOMAIN), dim=-1)

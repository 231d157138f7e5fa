"""Linear probe on the features of a domain encoder: what that encoder knows without the backbone."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.linear_probe import LinearProbe
from acclimate.methods.registry import register
from acclimate.training.batch import Batch
from acclimate.training.inputs import Inputs


@register
class DomainLinearProbe(LinearProbe):
    """Multinomial logistic regression on features of a domain encoder: `linear-probe` with h(x) in place of f(x).

    What a method that reads both the backbone and a domain encoder has to beat, beside the probe on the backbone.

    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.2 and appendix A.3, for the probe.
    """

    name = "domain-linear-probe"
    title = "Linear probe on domain features"
    learns = "per class: width of the domain encoder + 1 numbers"
    inputs = Inputs({"domain_features"})
    baseline = 3

    @property
    def width(self) -> int:
        """Width F of the features."""
        assert self.domain_encoder is not None
        return self.domain_encoder.width

    def features(self, batch: Batch) -> Tensor:
        """Return the features (B, F) that the probe reads, L2-normalised."""
        return F.normalize(batch.domain_features.float(), dim=-1)

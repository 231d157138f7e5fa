"""Zero-shot classification: the text tower reads one sentence, or several, for each class."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from acclimate.methods.capabilities import Retriever
from acclimate.methods.labeller import Labeller
from acclimate.methods.parts.text import TextClassifier, text_directions
from acclimate.methods.registry import register
from acclimate.options import Checked, option


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig(Checked):
    """Settings of zero-shot classification."""

    ensemble: bool = option(False, "average the directions of all templates of the domain instead of using one")


@register
class ZeroShot(TextClassifier, Labeller, Retriever):
    """Zero-shot CLIP: w_c = norm(g(template(c))).

    With `ensemble`, w_c = norm(mean_t norm(g(template_t(c)))) over the domain's templates.
    Of labels, of which an image may have several, thresholds are chosen on the training images, and nothing is learned.
    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.1.4.
    """

    name = "zero-shot"
    title = "Zero-shot with a domain template"
    paper = "arXiv 2103.00020"
    learns = "nothing"
    baseline = 1
    Config = ZeroShotConfig
    config: ZeroShotConfig

    def class_directions(self) -> Tensor:
        """Return w (C, E)."""
        return text_directions(self.backbone, self.prompts, self.class_names, self.config.ensemble)

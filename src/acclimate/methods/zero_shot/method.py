"""Zero-shot classification: the text tower reads one sentence, or several, for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.contract import TextClassifier
from acclimate.methods.registry import register
from acclimate.options import Checked, option


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig(Checked):
    """Settings of zero-shot classification."""

    ensemble: bool = option(False, "average the directions of all templates of the domain instead of using one")


@register
class ZeroShot(TextClassifier):
    """Zero-shot CLIP: w_c = norm(g(template(c))).

    With `ensemble`, w_c = norm(mean_t norm(g(template_t(c)))) over the domain's templates.
    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.1.4.
    """

    name = "zero-shot"
    title = "Zero-shot with a domain template"
    paper = "arXiv 2103.00020"
    learns = "nothing"
    retrieves = True
    Config = ZeroShotConfig
    config: ZeroShotConfig

    def bind(self, class_names: Sequence[str]) -> None:
        """Set the classes; any names do."""
        self.class_names = tuple(class_names)
        self._kept = None

    def class_directions(self) -> Tensor:
        """Return w (C, E)."""
        if self.config.ensemble:
            return ensemble_directions(self.backbone, self.prompts.ensemble(self.class_names))
        return self.template_directions()


def ensemble_directions(backbone: object, sentences: Sequence[Sequence[str]]) -> Tensor:
    """Return the normalised mean direction (C, E) of the sentences of each class, all encoded in one pass.

    Args:
        backbone: dual encoder.
        sentences: for each class, the same number T of sentences.
    """
    flat = [sentence for row in sentences for sentence in row]
    features = F.normalize(backbone.encode_text(flat), dim=-1)  # type: ignore[attr-defined]  # (C T, E)
    return F.normalize(features.unflatten(0, (len(sentences), -1)).mean(dim=1), dim=-1)

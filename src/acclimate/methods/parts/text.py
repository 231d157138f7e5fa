"""Classifiers whose classes are directions in the joint space, made by the text tower or started from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.capabilities import Classifier
from acclimate.methods.parts.plain import PlainForm
from acclimate.methods.parts.scores import similarities

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.prompts import PromptSet
    from acclimate.training.batch import Batch


class TextClassifier(Classifier):
    """A method whose classes are L2-normalised directions w_c in the joint space, the same for every image.

    logits = s cos(x, w_c) + b with the backbone's own scale s (and, in SigLIP, bias b). In evaluation the directions
    are computed once and kept until something changes: training resumes, weights are loaded, or classes are bound.
    """

    def class_directions(self) -> Tensor:
        """Return the class directions (C, E), L2-normalised, with gradient where something is learned."""
        raise NotImplementedError

    def class_weights(self) -> Tensor:
        """Return the class directions (C, E), computed anew in training and once in evaluation."""
        return self.class_directions() if self.training else self.kept("class weights", self.class_directions)

    def template_directions(self) -> Tensor:
        """Return norm(g(template(c))) (C, E) of the bound classes: the frozen directions of the domain's template."""
        return text_directions(self.backbone, self.prompts, self.class_names)

    def image_directions(self, batch: Batch) -> Tensor:
        """Return the image directions (B, E), L2-normalised: those of the frozen tower unless a method changes them."""
        return F.normalize(batch.image_features.float(), dim=-1)

    def similarities(self, batch: Batch, weights: Tensor) -> Tensor:
        """Return s cos(x, w_c) + b for the images of a batch and directions (C, E): (B, C)."""
        return similarities(self.backbone, self.image_directions(batch), weights)

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        return self.similarities(batch, self.class_weights())

    def plain_form(self) -> PlainForm | None:
        """Return the directions of the classes, where the image tower and the logits are those of the backbone."""
        own = type(self)
        same = own.image_directions is TextClassifier.image_directions and own.logits is TextClassifier.logits
        return self.plain() if same else None

    def plain(self, **changed: Any) -> PlainForm:
        """Return the directions of the classes beside what is changed in the weights, see `PlainForm`."""
        weights, backbone = self.class_weights().detach().float(), self.backbone
        bias = weights.new_full((len(weights),), backbone.logit_bias)
        return PlainForm(weights, backbone.logit_scale, bias, **changed)


class TemplateClassifier(TextClassifier):
    """A method that leaves the text tower alone: w_c = norm(g(template(c))), encoded once when classes are bound."""

    templates: Tensor

    def set_classes(self) -> None:
        """Encode the template of the classes."""
        self.register_buffer("templates", self.template_directions(), persistent=False)  # (C, E)

    def class_directions(self) -> Tensor:
        """Return the directions of the template (C, E)."""
        return self.templates


@torch.no_grad()
def text_directions(
    backbone: DualEncoder, prompts: PromptSet, class_names: Sequence[str], ensemble: bool = False
) -> Tensor:
    """Return what the frozen text tower says of classes, as directions (C, E), L2-normalised.

    Args:
        backbone: dual encoder.
        prompts: words and templates of the classes.
        class_names: the classes.
        ensemble: take the mean direction over all templates of the domain instead of one template.
    """
    if not ensemble:
        return F.normalize(backbone.encode_text(prompts.sentences(class_names)).float(), dim=-1)
    sentences = prompts.ensemble(class_names)
    flat = [sentence for row in sentences for sentence in row]
    features = F.normalize(backbone.encode_text(flat).float(), dim=-1)  # (C T, E), all encoded in one pass
    return F.normalize(features.unflatten(0, (len(sentences), -1)).mean(dim=1), dim=-1)

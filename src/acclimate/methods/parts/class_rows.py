"""One learned row for each class of the training data, beside the text directions of whatever classes are bound."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from acclimate.methods.capabilities import Classifier
from acclimate.methods.parts.text import TextClassifier, text_directions


class BoundRows(Classifier):
    """A method with one learned row of numbers for each class that it was trained on, whatever classes are bound."""

    def find_rows(self) -> None:
        """Find the rows of the bound classes."""
        row = {name: number for number, name in enumerate(self.trained_classes)}
        places = [row.get(name, -1) for name in self.class_names]
        self._places = torch.tensor(places, device=self.backbone.device)

    def bound_rows(self, rows: Tensor) -> Tensor:
        """Return the rows of the bound classes in their order (C, E), zeros for those unknown in training.

        Args:
            rows: one for each class of the training data.
        """
        return torch.where(self._places[:, None] >= 0, rows[self._places.clamp(min=0)], 0.0)


class _Templated(Protocol):
    @property
    def ensemble(self) -> bool: ...


class ClassRows(BoundRows, TextClassifier):
    """Base of methods that learn one row of numbers for each class, which takes the place of its text direction.

    A row of zeros stands for a class without training images. Such a class, and one that is bound later under a name
    unknown in training, keeps its text direction; so a model serves any mixture of old and new names.

    Attributes:
        text: text directions t (C, E) of the bound classes, L2-normalised.
    """

    config: _Templated
    text: Tensor

    def set_classes(self) -> None:
        """Encode the sentences of the classes, and find their rows."""
        self.find_rows()
        self.register_buffer("text", self.text_directions(), persistent=False)

    def text_directions(self) -> Tensor:
        """Return the text directions t (C, E) of the bound classes, L2-normalised."""
        return self.kept("text directions", self._text_directions)

    def _text_directions(self) -> Tensor:
        return text_directions(self.backbone, self.prompts, self.class_names, self.config.ensemble)

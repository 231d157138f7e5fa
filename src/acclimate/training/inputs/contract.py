"""`Inputs`: what a method reads, said once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PIXELS = "pixels"
IMAGE = "image_features"  # what a backbone gives of an image, in the joint space where it has one
POOLED = "pooled_features"  # the same before the projection into the joint space
DOMAIN = "domain_features"  # what a domain encoder gives
DOMAIN_PIXELS = "domain_pixels"  # what it takes
VIEWS = frozenset({PIXELS, DOMAIN_PIXELS})  # what an encoder takes, and does not compute
REFERENCES = "reference_prompts"  # sentences about the class of an image, or its captions
IMAGE_TOKENS = "image_tokens"  # what the language model of a generative VLM sees of an image
VISION_TOKENS = "vision_tokens"  # what its connector reads of an image
DOMAIN_TOKENS = "domain_tokens"  # every patch of a domain encoder
NEGATIVES = "negatives"  # another image of another class
OWN_TOKENS = "own_tokens"  # the same, of an image in its own shape
OWN_NEGATIVES = "own_negatives"  # another image of another class, in its own shape
VISION_NEGATIVES = "vision_negatives"  # the same, before the connector
LESSONS = "lessons"  # which question and answer are learned about an image
DOMAINS = "domains"  # which acquisition domain an image is of
GRIDS = (2, 3, 4)  # tiles in a row, and in a column, that an image is cut into


def tiled(kind: str, grid: int) -> str:
    """Return what features of a kind are called where they are those of an image and of its grid x grid tiles."""
    return f"{kind}_{grid}x{grid}"


OF_DOMAIN_ENCODER = frozenset({DOMAIN, DOMAIN_PIXELS, DOMAIN_TOKENS, *(tiled(DOMAIN, grid) for grid in GRIDS)})


@dataclass(frozen=True, init=False)
class Inputs:
    """What a method reads of each image.

    The names are those of `Batch`, or of a module in `acclimate.training.inputs`: "pixels", "image_features",
    "pooled_features", "domain_pixels", "domain_features", "domain_tokens", "image_tokens", "vision_tokens",
    "own_tokens" (with their shapes), "negatives", "vision_negatives", "own_negatives", "lessons",
    "reference_prompts" (with their mask), "domains"; and those of `tiled`, such as "pooled_features_2x2". Labels need
    no word.

    Attributes:
        prediction: what prediction reads.
        training: what training reads beside it.
    """

    prediction: frozenset[str]
    training: frozenset[str]

    def __init__(self, prediction: Iterable[str] = ("image_features",), training: Iterable[str] = ()) -> None:
        object.__setattr__(self, "prediction", frozenset(prediction))
        object.__setattr__(self, "training", frozenset(training) - self.prediction)

    @property
    def all(self) -> frozenset[str]:
        """What training reads: what prediction reads, and what it reads beside that."""
        return self.prediction | self.training

    @property
    def domain_encoder(self) -> bool:
        """Whether a domain encoder is needed: for what it gives, or to learn its weights anew from its own pixels."""
        return bool(self.all & OF_DOMAIN_ENCODER)

    @property
    def reference_prompts(self) -> bool:
        """Whether reference prompts are learned from."""
        return REFERENCES in self.all

    @property
    def domains(self) -> bool:
        """Whether images must name their acquisition domain."""
        return DOMAINS in self.all

    def without(self, *names: str) -> Inputs:
        """Return the inputs without some names."""
        return Inputs(self.prediction - {*names}, self.training - {*names})

    def __str__(self) -> str:
        """Return the names in words, those of training alone in brackets."""
        read = [name.replace("_", " ") for name in sorted(self.prediction)]
        learned = [name.replace("_", " ") for name in sorted(self.training)]
        return ", ".join(read) + (f" (to learn: {', '.join(learned)})" if learned else "")

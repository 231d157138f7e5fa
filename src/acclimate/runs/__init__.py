"""What people do: adapt a backbone to data, and use, save and load the result."""

from acclimate.runs.adaptation import adapt
from acclimate.runs.model import AdaptedModel, load
from acclimate.runs.selection import choose_evaluation_images

__all__ = ["AdaptedModel", "adapt", "choose_evaluation_images", "load"]

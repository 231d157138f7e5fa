"""What people do: adapt a backbone to data, and use, save and load the result."""

from acclimate.runs.adaptation import adapt, adapt_trial
from acclimate.runs.conditions import Conditions
from acclimate.runs.model import AdaptedModel, load
from acclimate.runs.prompting import choose_prompts
from acclimate.runs.selection import choose_evaluation_images

__all__ = ["AdaptedModel", "Conditions", "adapt", "adapt_trial", "choose_evaluation_images", "choose_prompts", "load"]

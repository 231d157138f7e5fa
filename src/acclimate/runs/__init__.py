"""What people do: adapt a backbone to data, and use, save and load the result."""

from acclimate.runs.adaptation import adapt, adapt_trial
from acclimate.runs.beside import evaluate_beside
from acclimate.runs.embedding import Embedding, embed_images
from acclimate.runs.loading import load
from acclimate.runs.model import AdaptedModel
from acclimate.runs.ranking import Ranked, rank_backbones
from acclimate.runs.run_options import RunOptions
from acclimate.runs.saliency import SaliencyMap, look_at_images
from acclimate.runs.selection import choose_evaluation_images
from acclimate.runs.suggesting import Suggestion, Suggestions, suggest

__all__ = [
    "AdaptedModel",
    "Embedding",
    "Ranked",
    "RunOptions",
    "SaliencyMap",
    "Suggestion",
    "Suggestions",
    "adapt",
    "adapt_trial",
    "choose_evaluation_images",
    "embed_images",
    "evaluate_beside",
    "load",
    "look_at_images",
    "rank_backbones",
    "suggest",
]

"""GDPL: deep prompts conditioned on a domain encoder, and cross-modal low-rank adaptation."""

from acclimate.methods.gdpl.config import GDPLConfig
from acclimate.methods.gdpl.method import GDPL

__all__ = ["GDPL", "GDPLConfig"]

"""DCPL: prompts and image features shifted by a domain encoder."""

from acclimate.methods.dcpl.method import DCPL

__all__ = ["DCPL"]

"""DCPL: prompts and image features shifted by a domain encoder."""

from acclimate.methods.dcpl.method import DCPL, DCPLConfig

__all__ = ["DCPL", "DCPLConfig"]

"""DPLQ: deep prompts conditioned on a domain encoder through quaternion layers."""

from acclimate.methods.dplq.method import DPLQ, DPLQConfig

__all__ = ["DPLQ", "DPLQConfig"]

"""Tip-Adapter: a cache of the training images, as it is or with fine-tuned keys."""

from acclimate.methods.tip_adapter.method import TipAdapter, TipAdapterConfig, TipAdapterF, TipAdapterFConfig

__all__ = ["TipAdapter", "TipAdapterConfig", "TipAdapterF", "TipAdapterFConfig"]

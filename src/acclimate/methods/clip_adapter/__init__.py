"""CLIP-Adapter: a bottleneck on the image feature."""

from acclimate.methods.clip_adapter.method import CLIPAdapter, CLIPAdapterConfig

__all__ = ["CLIPAdapter", "CLIPAdapterConfig"]

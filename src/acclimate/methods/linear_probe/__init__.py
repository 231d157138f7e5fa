"""Linear probe on frozen image features."""

from acclimate.methods.linear_probe.method import LinearProbe, LinearProbeConfig

__all__ = ["LinearProbe", "LinearProbeConfig"]

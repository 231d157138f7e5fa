"""Linear probe on the features of a domain encoder."""

from acclimate.methods.domain_probe.method import DomainLinearProbe

__all__ = ["DomainLinearProbe"]

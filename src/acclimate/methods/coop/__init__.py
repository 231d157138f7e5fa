"""CoOp: context optimisation."""

from acclimate.methods.coop.context import initial_context
from acclimate.methods.coop.method import ContextPrompts, CoOp, CoOpConfig

__all__ = ["CoOp", "CoOpConfig", "ContextPrompts", "initial_context"]

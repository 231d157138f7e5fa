"""`Backbone`: a backbone of either kind, for annotations; and the one that has a text tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from acclimate.backbones.kinds import DUAL, KINDS
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.dual_encoder import DualEncoder
    from acclimate.backbones.generative import GenerativeVLM

    Backbone: TypeAlias = DualEncoder | GenerativeVLM


def as_dual(backbone: Backbone, what: str) -> DualEncoder:
    """Return a dual encoder as it is, and that of a composed backbone.

    Args:
        backbone: of either kind.
        what: who needs a dual encoder, for the message.

    Raises:
        BackboneError: it is of the other kind, and has none inside.
    """
    found = dual_of(backbone)
    if found is None:
        raise BackboneError(
            f"{what} needs a dual encoder, and '{backbone.name}' is a {KINDS[backbone.kind].title}; name a dual "
            f"encoder, such as {KINDS[DUAL].example}"
        )
    return found


def dual_of(backbone: Backbone) -> DualEncoder | None:
    """Return a dual encoder as it is, and that of a composed backbone; none of another."""
    return cast("DualEncoder", backbone) if backbone.kind == DUAL else cast("GenerativeVLM", backbone).dual

"""The frozen encoders of a run: opened by name, described for its files, recognised when it is loaded again."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from acclimate.data.transforms import ImageTransform
from acclimate.errors import RunError

if TYPE_CHECKING:
    import torch

    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.methods import Method

logger = logging.getLogger("acclimate.runs")


def open_backbone(backbone: str | os.PathLike[str] | DualEncoder, device: torch.device) -> DualEncoder:
    """Return a backbone by its id, folder or catalogue name, or a loaded one as it is."""
    from acclimate.backbones import DualEncoder, load_backbone

    return backbone if isinstance(backbone, DualEncoder) else load_backbone(os.fspath(backbone), device=device)


def open_domain_encoder(
    encoder: str | os.PathLike[str] | DomainEncoder | None,
    method: type[Method],
    config: object,
    backbone: DualEncoder,
    device: torch.device,
) -> DomainEncoder | None:
    """Return the domain encoder that a method reads with these settings; a loaded one as it is.

    Where the method reads none, none is loaded, and a note says so if one is named.

    Raises:
        ConfigError: the method reads one and none is named.
        BackboneError: it cannot be loaded.
    """
    from acclimate.backbones import DomainEncoder, load_domain_encoder

    if not method.inputs_of(config).domain_encoder:
        if encoder is not None:
            logger.info("%s reads no domain encoder; the one that is named is not used", method.name)
        return None
    method.check_domain_encoder(config, encoder)
    encoder = method.usual_domain_encoder if encoder is None else encoder
    assert encoder is not None  # else it was refused
    return encoder if isinstance(encoder, DomainEncoder) else load_domain_encoder(os.fspath(encoder), backbone, device)


@dataclass(frozen=True)
class SavedEncoder:
    """What `adapter.json` says of an encoder: only that one gives the features that the adapter learned from.

    Attributes:
        name: id or folder that it had.
        fingerprint: of its weights.
        transform: its preprocessing.
        option: parameter of `load` that names another place.
        words: what messages call it.
        architecture: what its forward pass took from config.json; none in adapters from before this was written.
        tokenizer: hash of what its tokenizer made of texts; none likewise, and for domain encoders.
    """

    name: str
    fingerprint: str
    transform: ImageTransform
    option: str
    words: str
    architecture: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokenizer: str | None = None

    @classmethod
    def of_backbone(cls, info: Mapping[str, Any]) -> SavedEncoder:
        """Read the backbone's entries."""
        known, transform = info["backbone"], ImageTransform.from_dict(info["transform"])
        words, more = f"'{known['id']}'", (_architecture(known), known.get("tokenizer"))
        return cls(known["id"], known["fingerprint"], transform, "backbone", words, *more)

    @classmethod
    def of_domain_encoder(cls, info: Mapping[str, Any]) -> SavedEncoder:
        """Read the domain encoder's entry."""
        known = info["domain_encoder"]
        transform, words = ImageTransform.from_dict(known["transform"]), f"the domain encoder '{known['id']}'"
        return cls(known["id"], known["fingerprint"], transform, "domain_encoder", words, _architecture(known))

    @property
    def has_a_name(self) -> bool:
        """Whether it is embedded, or the backbone itself: nothing that is looked for."""
        from acclimate.backbones.catalogue import list_backbones
        from acclimate.backbones.domain_encoder import SELF

        return self.name == SELF or any(info.embedded and info.id == self.name for info in list_backbones())

    def check(self, found: DualEncoder | DomainEncoder | None, run: os.PathLike[str]) -> None:
        """Refuse an encoder with other weights, another configuration or tokenizer, or another transform.

        Raises:
            RunError: it is another one.
        """
        assert found is not None
        if found.fingerprint != self.fingerprint:
            raise RunError(
                f"{run}: this adapter was trained on {self.words} with weights {self.fingerprint[:12]}, "
                f"but '{found.name}' has weights {found.fingerprint[:12]}; name the original with `{self.option}`"
            )
        if changes := found.architecture.differences(self.architecture):
            raise RunError(
                f"{run}: this adapter was trained on {self.words}, and the config.json of '{found.name}' says "
                f"otherwise ({'; '.join(changes[:3])}); restore it, or name the original with `{self.option}`"
            )
        tokenizer = getattr(found, "tokenizer", None)
        if self.tokenizer and tokenizer is not None and tokenizer.fingerprint != self.tokenizer:
            raise RunError(
                f"{run}: this adapter was trained on {self.words} with another tokenizer than that of '{found.name}'; "
                f"restore its tokenizer files, or name the original with `{self.option}`"
            )
        if found.transform != self.transform:
            raise RunError(
                f"{run}: this adapter was trained on {self.words} with another image transform than that of "
                f"'{found.name}'; restore its preprocessor_config.json, or name the original with `{self.option}`"
            )


def _architecture(known: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {part: {**settings} for part, settings in known.get("architecture", {}).items()}


def describe_backbone(backbone: DualEncoder) -> dict[str, Any]:
    """Return what `adapter.json` says of a backbone."""
    return {
        "id": backbone.name,
        "family": backbone.family,
        "fingerprint": backbone.fingerprint,
        "architecture": backbone.architecture.settings,
        "tokenizer": backbone.tokenizer.fingerprint,
    }


def describe_domain_encoder(encoder: DomainEncoder | None) -> dict[str, Any] | None:
    """Return what `adapter.json` says of a domain encoder, or of none."""
    if encoder is None:
        return None
    return {
        "id": encoder.name,
        "family": encoder.family,
        "fingerprint": encoder.fingerprint,
        "architecture": encoder.architecture.settings,
        "width": encoder.width,
        "transform": encoder.transform.to_dict(),
    }

"""The frozen encoders of a run: opened by name, described for its files, recognised when it is loaded again."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.backbones.backbone import as_dual, dual_of
from acclimate.data.transforms import ImageTransform
from acclimate.errors import ConfigError, RunError

if TYPE_CHECKING:
    import torch

    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.methods import Method
    from acclimate.tasks import Task

WITHOUT = "none"  # in place of the name of a domain encoder

logger = logging.getLogger("acclimate.runs")


def open_backbone(
    backbone: str | os.PathLike[str] | Backbone, device: torch.device, method: type[Method] | None = None
) -> Backbone:
    """Return a backbone of either kind by its id, folder or catalogue name, or a loaded one as it is.

    Args:
        backbone: its name, or itself.
        device: where to put it.
        method: adapts it, and refuses it before it is loaded where it is of a kind that the method does not adapt.

    Raises:
        ConfigError: so it is.
        BackboneError: it cannot be loaded.
    """
    from acclimate.backbones import load_backbone, load_vlm
    from acclimate.backbones.kinds import GENERATIVE, kind_of

    if not isinstance(backbone, str | os.PathLike):
        if method is not None:
            method.check_backbone(backbone.kind, backbone.name)
        return backbone
    name = os.fspath(backbone)
    kind = kind_of(name)
    if method is not None:
        method.check_backbone(kind, name)
    return load_vlm(name, device=device) if kind == GENERATIVE else load_backbone(name, device=device)


def hint_at_specialist(domain: str, backbone: str | os.PathLike[str] | Backbone) -> None:
    """Say in a note which backbone was trained on such images, where the embedded one is used; nothing is downloaded.

    Args:
        domain: id of the domain of the prompt templates.
        backbone: what is adapted.
    """
    from acclimate.backbones.catalogue import specialist
    from acclimate.backbones.kinds import DUAL, KINDS

    info = specialist(domain) if backbone == KINDS[DUAL].example else None
    if info is not None:
        size = "" if info.parameters is None else f", {info.parameters:.0f} million parameters"
        logger.info(
            "%s was not made for such images, %s was (%s; %s%s): `backbone='%s'` downloads and adapts it",
            *(backbone, info.title, info.domain, info.licence, size, info.id),
        )


def open_domain_encoder(
    encoder: str | os.PathLike[str] | DomainEncoder | None,
    method: type[Method],
    config: object,
    backbone: Backbone,
    device: torch.device,
) -> DomainEncoder | None:
    """Return the domain encoder that a method reads with these settings; a loaded one as it is.

    Where the method reads none, none is loaded, and a note says so if one is named; where it can predict without, none
    is one.

    Raises:
        ConfigError: the method needs one and none is named.
        BackboneError: it cannot be loaded.
    """
    from acclimate.backbones import DomainEncoder, load_domain_encoder

    if not method.inputs_of(config).domain_encoder:
        if encoder is not None:
            logger.info("%s reads no domain encoder; the one that is named is not used", method.name)
        return None
    if encoder == WITHOUT:
        raise ConfigError(
            f"`domain_encoder='{WITHOUT}'` does without the domain encoder of a finished run; leave it out where "
            f"{method.name} learns"
        )
    method.check_domain_encoder(config, encoder)
    encoder = method.usual_domain_encoder if encoder is None else encoder
    if encoder is None:
        return None
    return encoder if isinstance(encoder, DomainEncoder) else load_domain_encoder(os.fspath(encoder), backbone, device)


def open_scorer(
    scorer: str | os.PathLike[str] | DualEncoder | None, task: Task[Any], backbone: Backbone, device: torch.device
) -> DualEncoder | None:
    """Return the dual encoder that judges what is written, by its id, folder or catalogue name; a loaded one as it is.

    Args:
        scorer: its name, or itself, or none.
        task: what is done; of some there is nothing to judge.
        backbone: of the model that is judged.
        device: where to put it.

    Raises:
        ConfigError: there is nothing to judge.
        BackboneError: it cannot be loaded, or is no dual encoder.
    """
    if scorer is None:
        return None
    arguments.encoder("scorer", scorer)
    if not task.judged:
        raise ConfigError(f"`scorer` judges captions that are written, and this is {task.name}; leave it out")
    found = as_dual(open_backbone(scorer, device), "`scorer`")
    own = dual_of(backbone)
    if own is not None and own.identity == found.identity:
        logger.warning(
            "the captions are judged by %s, which they are written with; another `scorer` is a fairer judge", found.name
        )
    return found


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
        width: of the features of a domain encoder.
    """

    name: str
    fingerprint: str
    transform: ImageTransform
    option: str
    words: str
    architecture: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokenizer: str | None = None
    width: int | None = None

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
        made = (known["id"], known["fingerprint"], transform, "domain_encoder", words, _architecture(known))
        return cls(*made, width=known["width"])

    def check_fits(self, found: DomainEncoder, run: os.PathLike[str]) -> None:
        """Refuse a domain encoder that cannot stand in for this one: other width, or other preprocessing.

        Raises:
            RunError: so it is.
        """
        if found.width != self.width:
            raise RunError(
                f"{run}: {self.words} gives {self.width} features, '{found.name}' gives {found.width}; swap in one "
                "that goes on from the original (`acclimate pretrain classifier --from`)"
            )
        if found.transform != self.transform:
            raise RunError(
                f"{run}: {self.words} and '{found.name}' prepare images otherwise; swap in one that goes on from the "
                "original (`acclimate pretrain classifier --from`)"
            )

    @property
    def has_a_name(self) -> bool:
        """Whether it is embedded, or the backbone itself: nothing that is looked for."""
        from acclimate.backbones.catalogue import list_backbones
        from acclimate.backbones.domain_encoder import SELF

        return self.name == SELF or any(info.embedded and info.id == self.name for info in list_backbones())

    def check(self, found: Backbone | DomainEncoder | None, run: os.PathLike[str]) -> None:
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


def describe_backbone(backbone: Backbone) -> dict[str, Any]:
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

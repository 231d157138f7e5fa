"""Which domain encoder a job reads, and what of it decides the result."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from acclimate.bench.choosing import choose
from acclimate.bench.entries import at
from acclimate.bench.spec import Contender, Source
from acclimate.errors import ConfigError
from acclimate.methods import get_method
from acclimate.protocols import Trial
from acclimate.runs.seen import Seen, seen_by_encoder

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.backbones.backbone import Backbone


def identity(encoder: Backbone | DomainEncoder) -> dict[str, str]:
    """Return what decides the features of an encoder: its weights, and what it makes of an image.

    Its identity stands beside them where its configuration or its tokenizer is none that the weights let one expect.
    """
    found = {"fingerprint": encoder.fingerprint, "transform": encoder.transform.fingerprint}
    return found if encoder.identity == encoder.fingerprint else {**found, "identity": encoder.identity}


class Encoders:
    """The domain encoders of a bench while it is planned: each is loaded once, and only its identity kept.

    Args:
        sources: the data sets of the bench, by name.
        backbones: its backbones, loaded, by name.
    """

    def __init__(self, sources: Mapping[str, Source], backbones: Mapping[str, Backbone]) -> None:
        self.sources, self.backbones = sources, backbones
        self._known: dict[tuple[str, str], dict[str, str]] = {}
        self._seen: dict[tuple[str, str], Seen | None] = {}
        self._apart: dict[Hashable, Trial] = {}  # what was checked already; kept, so that their ids stay theirs

    def find(
        self, contender: Contender, training: Sequence[str], backbone: str, trial: Trial
    ) -> tuple[str | None, dict[str, str]]:
        """Return name and identity of the domain encoder that a method reads; no name where its runs make one.

        Args:
            contender: the method.
            training: names of the data sets that train.
            backbone: name of the backbone.
            trial: what is measured with it.

        Raises:
            ConfigError: none is named, or several are, or it cannot be loaded, or has seen test images.
        """
        from acclimate.backbones.domain_encoder import SELF, load_domain_encoder

        name = _name(contender, {data: self.sources[data] for data in training})
        if name is None:
            return None, {}
        key = (name, backbone if name == SELF else "")  # which is another encoder for each backbone
        place = f"domain_encoder of '{contender.label}' on {'+'.join(training)}"
        with at(place, "domain_encoder", "split_rule", "split_seed"):
            if key not in self._known:
                encoder = load_domain_encoder(name, backbone=self.backbones[backbone])
                self._known[key], self._seen[key] = identity(encoder), seen_by_encoder(encoder)
            if (seen := self._seen[key]) and (*key, id(trial)) not in self._apart:
                seen.refuse(trial.tests.values())
                self._apart[*key, id(trial)] = trial
        return name, self._known[key]


def _name(contender: Contender, training: Mapping[str, Source]) -> str | None:
    """Return the name of a domain encoder, or none where a run makes one or does without.

    Raises:
        ConfigError: there is none, or the data sets have different ones.
    """
    kind = get_method(contender.method)
    name = choose(contender, training, "domain_encoder") or kind.usual_domain_encoder
    if name is None and not kind.makes_domain_encoder and not kind.domain_encoder_is_optional:
        first = next(iter(training))
        raise ConfigError(
            f"'{contender.label}' reads a domain encoder, and the data set '{first}' names none; write "
            f"data.{first}.domain_encoder, or domain_encoder in the entry of the method: a Hub id, a folder such as "
            "`acclimate pretrain` writes, or self"
        )
    return name

"""Run folders made into models again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.data.bands import parse_bands
from acclimate.errors import RunError
from acclimate.files import read_json
from acclimate.methods import Classifier, get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.runs import copies, folder
from acclimate.runs.adapter_info import FORMAT
from acclimate.runs.encoders import WITHOUT, SavedEncoder, open_backbone, open_domain_encoder
from acclimate.runs.kept_trust import read_trust
from acclimate.runs.model import AdaptedModel
from acclimate.runs.places import find_again
from acclimate.runs.remote import find_run
from acclimate.runs.seen import read_images
from acclimate.runs.several import read_sets
from acclimate.training.checkpoint import read_tensors
from acclimate.training.devices import resolve_device

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.methods import ClassSet, Method

logger = logging.getLogger("acclimate.runs")


@dataclass(frozen=True)
class Saved:
    """What `adapter.json` holds, as far as a model is made of it.

    Attributes:
        backbone: what it says of the backbone.
        domain_encoder: the same of the domain encoder, where the method reads one.
        left_out: the same of one that it was saved without.
        method, config, prompts: of the method.
        class_names: the classes that were bound when it was saved.
        trained_classes: those that the tensors belong to.
        sets: the classes and words of several data sets that it has learned from together.
    """

    backbone: SavedEncoder
    domain_encoder: SavedEncoder | None
    left_out: SavedEncoder | None
    method: type[Method]
    config: Any
    prompts: PromptSet
    class_names: list[str]
    trained_classes: list[str]
    sets: dict[str, ClassSet]

    @classmethod
    def read(cls, path: Path, next_step: str) -> Saved:
        """Read the file of a run folder.

        Raises:
            RunError: it is missing, damaged, or of another release; `next_step` says what to do where it is missing.
        """
        info = read_json(path / folder.ADAPTER_INFO, next_step)
        try:
            if info["format"] != FORMAT:
                raise RunError(
                    f"{path}: written in format {info['format']}, this version reads {FORMAT}; update acclimate"
                )
            method = get_method(info["method"])
            config: Any = make_config(method.Config, info["config"])
            reads_domain = method.inputs_of(config).domain_encoder
            if (method.makes_domain_encoder or method.domain_encoder_is_optional) and info["domain_encoder"] is None:
                reads_domain = False  # saved without
            names = [str(name) for name in info["class_names"]]
            return cls(
                SavedEncoder.of_backbone(info),
                SavedEncoder.of_domain_encoder(info) if reads_domain else None,
                SavedEncoder.of_domain_encoder({"domain_encoder": info["left_out"]}) if info.get("left_out") else None,
                method,
                config,
                PromptSet.from_dict(info["prompts"]),
                names,
                [str(name) for name in info.get("trained_classes", names)],
                read_sets(info.get("sets", {})),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(
                f"{path / folder.ADAPTER_INFO}: an entry is missing or wrong ({error}); adapt again"
            ) from None

    def other_encoder(
        self, path: Path, given: Any, open_one: Callable[[Any], DomainEncoder | None]
    ) -> DomainEncoder | None:
        """Return a domain encoder in place of that of the adapter, or none where it is to do without.

        Args:
            path: the run folder, for messages.
            given: what the caller names.
            open_one: opens it.

        Raises:
            RunError: the method reads none, cannot do without it, or the other one does not fit.
        """
        known, name = self.domain_encoder or self.left_out, self.method.name
        if known is None:
            raise RunError(f"{path}: this {name} has no domain encoder that could be left out or swapped")
        if given is None:
            raise RunError(f"{path}: `swap` takes another domain encoder; name it with `domain_encoder`")
        if given == WITHOUT:
            if not self.method.makes_domain_encoder:
                raise RunError(f"{path}: {name} cannot do without its domain encoder; leave `domain_encoder` out")
            return None
        found = open_one(given)
        assert found is not None  # it has a name, and the method reads one
        known.check_fits(found, path)
        return found


def reopen(
    path: Path,
    identity: str,
    backbone: Backbone,
    domain_encoder: DomainEncoder | None,
    cache_dir: Path | None,
    remark: str = "",
) -> AdaptedModel:
    """Load the finished run of a folder, if it is the one that is asked for; `remark` may explain why it is not.

    Raises:
        RunError: it is another one.
    """
    model = load(path, backbone, cache_dir=cache_dir, domain_encoder=domain_encoder)
    if model.record.get("identity") != identity:
        raise RunError(
            f"{path} holds a finished run of other data or settings; choose another `out`, or use `overwrite=True`"
            f"{remark}"
        )
    logger.info("%s holds this very run, finished; nothing to do (`overwrite=True` repeats it)", path)
    return model


def load(
    run: str | os.PathLike[str],
    backbone: str | os.PathLike[str] | Backbone | None = None,
    device: str = "auto",
    cache_dir: Path | None = None,
    domain_encoder: str | os.PathLike[str] | DomainEncoder | None = None,
    swap: bool = False,
    classes_of: str | None = None,
    bands: str | Sequence[int] | None = None,
) -> AdaptedModel:
    """Load an adapted model from its run folder.

    Args:
        run: folder written by `acclimate adapt` or `AdaptedModel.save`, or `hf:OWNER/NAME[@REVISION]` for one of the
            Hugging Face Hub, see `acclimate.runs.remote`.
        backbone: where the backbone is, if it is found neither by its id nor where its folder was, as the run sees it.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: feature cache used by `evaluate`.
        domain_encoder: the same for the domain encoder, if the adapter has one; "none" does without it, where the
            method can.
        swap: take another domain encoder than that of the adapter, with features as wide and the same preprocessing,
            such as one that goes on from it on images of another acquisition domain.
        classes_of: of a run on several data sets, the one whose classes are told apart; none: those of all of them.
        bands: those of images of many that the model is shown, such as "5,4,3" of a sensor that has there what the run
            has learned from elsewhere; none: those that it has learned from.

    Raises:
        RunError: when files are missing or damaged, or when the backbone or the domain encoder is not found, cannot be
            loaded, or is not that of the adapter, or is no other that could stand in for it.
        ConfigError: an argument of a wrong type, a device that this machine does not have, or no such data set.
    """
    shown = parse_bands(bands)
    path, cache_dir = arguments.path("run", run), arguments.optional(arguments.path, "cache_dir", cache_dir)
    arguments.optional(arguments.encoder, "backbone", backbone)
    arguments.optional(arguments.encoder, "domain_encoder", domain_encoder)
    path = find_run(path)
    if not path.is_dir():
        raise RunError(f"{path}: there is no such run folder; give the folder named by `out` of `acclimate adapt`")
    next_step = "give a folder written by `acclimate adapt`" + (
        "; this run is not finished, start its command again" if (path / folder.CHECKPOINT).exists() else ""
    )
    saved = Saved.read(path, next_step)
    torch_device = resolve_device(device)
    record = read_json(path / folder.RECORD, next_step)
    tower = find_again(
        path, saved.backbone, record, backbone, lambda name: open_backbone(name, torch_device, saved.method)
    )

    def opened(name: str | os.PathLike[str] | DomainEncoder | None) -> DomainEncoder | None:
        return open_domain_encoder(name, saved.method, saved.config, tower, torch_device)

    known = saved.domain_encoder or (saved.left_out if domain_encoder is not None else None)
    if domain_encoder == WITHOUT or swap:
        encoder = saved.other_encoder(path, domain_encoder, opened)
    else:
        encoder = find_again(path, known, record, domain_encoder, opened) if known else opened(domain_encoder)
    tensors, _ = read_tensors(path / folder.ADAPTER)
    method = copies.assemble(
        (saved.method, saved.config, saved.prompts, tower, encoder), tensors, saved.trained_classes
    )
    journal = folder.read_lines(path / folder.LOG)
    model = AdaptedModel(method, record, journal=journal, cache_dir=cache_dir, run=path)
    model.bands = shown or model.bands
    if not (path / folder.SPLITS).exists():
        model.frozen = None
    model.seen_before, model.sets = frozenset(read_images(path)), saved.sets
    if encoder is None:
        info = read_json(path / folder.ADAPTER_INFO, next_step)
        model.left_out = info["domain_encoder"] or info.get("left_out")
    trust = read_trust(path, saved.trained_classes)
    if model.left_out or swap:  # it holds for the encoders of the run
        model.laid_aside = None if swap else trust
    elif isinstance(method, Classifier):
        method.trust = trust
    if classes_of is not None:
        return model.of_set(arguments.text("classes_of", classes_of))
    return model if saved.class_names == list(model.class_names) else model.rebind(saved.class_names)

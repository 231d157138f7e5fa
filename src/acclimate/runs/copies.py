"""Models that are made again: from a run folder, for another process, or as a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.data.bands import Bands
from acclimate.methods import Classifier, Labeller

if TYPE_CHECKING:
    from pyarrow import Table
    from torch import Tensor

    from acclimate.methods import ClassSet, Method
    from acclimate.methods.trust import Trust
    from acclimate.runs.model import AdaptedModel


def assemble(made: tuple[Any, ...], tensors: Mapping[str, Tensor], trained_classes: Sequence[str]) -> Method:
    """Return a method that has learned these tensors.

    Args:
        made: what it is made of: its class, settings, prompts, backbone, and domain encoder or none.
        tensors: by name.
        trained_classes: those that the tensors belong to; none where it tells none apart.

    Raises:
        ConfigError: the tensors do not belong to such a method.
    """
    kind, config, prompts, backbone, encoder = made
    method: Method = kind(backbone, config, prompts, encoder)
    if trained_classes and isinstance(method, Labeller) and method.told_by(tensors):
        method.learn_labels(trained_classes)
    elif trained_classes and isinstance(method, Classifier):
        method.bind(trained_classes)
    else:
        method.build()
    method.load_learned_state({name: tensor.to(backbone.device) for name, tensor in tensors.items()})
    method.eval()
    return method


def reduced(model: AdaptedModel) -> tuple[Callable[..., AdaptedModel], tuple[Any, ...]]:
    """Return what pickle needs of a model: what makes it again, and its arguments."""
    method = model.method
    prompts = method.prompts if model.serves is None else model.prompts
    made = (type(method), method.config, prompts, method.backbone, method.domain_encoder)
    tensors = {name: tensor.detach().cpu() for name, tensor in method.learned_state().items()}
    bound = (model.trained_classes, model.class_names, model.sets, model.serves)
    seen = (model.frozen, model.seen_before, model.left_out, model.trust, model.laid_aside, model.predictions)
    shown = (model.cache_dir, model.bands)
    return revive, (type(model), made, tensors, bound, model.record, model.journal, seen, shown)


def revive(
    kind: type[AdaptedModel],
    made: tuple[Any, ...],
    tensors: Mapping[str, Tensor],
    bound: tuple[Sequence[str], Sequence[str], Mapping[str, ClassSet], str | None],
    record: dict[str, Any],
    journal: Sequence[dict[str, Any]],
    seen: tuple[
        dict[str, Any] | None,
        frozenset[str],
        dict[str, Any] | None,
        Trust | None,
        Trust | None,
        Table | None,
    ],
    shown: tuple[Path | None, Bands | None],
) -> AdaptedModel:
    """Return the model that `reduced` described."""
    trained, names, sets, serves = bound
    model = kind(assemble(made, tensors, trained), record, journal=journal, cache_dir=shown[0])
    model.bands = shown[1]
    model.frozen, model.seen_before, model.left_out, trust, model.laid_aside, model.predictions = seen
    if isinstance(model.method, Classifier):
        model.method.trust = trust
    model.sets = sets
    if serves is not None:
        return model.of_set(serves)
    return model if names == model.class_names else model.rebind(names)

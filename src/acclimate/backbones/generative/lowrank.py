"""`LowRankAdapter`: LoRA on the language model of a shared backbone, which is as before outside of `on`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.generative.vlm import GenerativeVLM

ALL = "all-linear"
_NAME = "acclimate"


class LowRankAdapter(nn.Module):
    """Low-rank changes of linear layers (LoRA, arXiv 2106.09685), made by PEFT.

    It owns its parameters, `<layer>.a` (rank, in) and `<layer>.b` (out, rank) in float32, such as
    "layers.0.self_attn.q_proj.a"; b begins at zero, so a new adapter changes nothing. The backbone holds no reference
    to it: PEFT's layers stand in the backbone only within `on`, and several adapters may share one backbone.

    Args:
        backbone: whose language model it changes.
        rank: of the changes, at least 1.
        alpha: the changes are scaled by alpha / rank.
        dropout: of what the changes read, in training mode.
        targets: "all-linear", or last parts of names of layers ("q_proj", "v_proj").

    Raises:
        BackboneError: a rank below 1, or targets that no linear layer of the language model has.
    """

    def __init__(
        self, backbone: GenerativeVLM, rank: int, alpha: float, dropout: float, targets: str | Sequence[str] = ALL
    ) -> None:
        super().__init__()
        if rank < 1:
            raise BackboneError(f"rank={rank} of a low-rank adapter must be at least 1")
        self.backbone, self.rank, self.alpha, self.dropout = backbone, rank, alpha, dropout
        self.targets = targets if isinstance(targets, str) else tuple(targets)
        with backbone.lock:
            self._sites = _sites(backbone.language_model, rank, alpha, dropout, self.targets)
        for name, _, _, layer in self._sites:
            leaf = nn.Module()
            leaf.register_parameter("a", _float(layer.lora_A[_NAME]))
            leaf.register_parameter("b", _float(layer.lora_B[_NAME]))
            _plant(self, name, leaf)
        self.train(self.training)

    def __deepcopy__(self, memo: dict[int, Any]) -> LowRankAdapter:
        """Return one with the same values on the same backbone."""
        copy = _made(self.backbone, self.rank, self.alpha, self.dropout, self.targets, self.state_dict())
        memo[id(self)] = copy.train(self.training)
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle its values and the backbone's place."""
        return _made, (self.backbone, self.rank, self.alpha, self.dropout, self.targets, self.state_dict())

    def train(self, mode: bool = True) -> LowRankAdapter:
        """Switch its own dropout; the backbone stays in evaluation mode."""
        super().train(mode)
        for _, _, _, layer in getattr(self, "_sites", ()):
            layer.lora_dropout.train(mode)
        return self

    @contextmanager
    def on(self) -> Iterator[None]:
        """Let the backbone compute with the adapter within.

        Other threads wait with the language model until it is off again; they can encode images meanwhile.
        """
        with self.backbone.lock:
            before = [(parent, child, getattr(parent, child)) for _, parent, child, _ in self._sites]
            try:
                for _, parent, child, layer in self._sites:
                    setattr(parent, child, layer)
                yield
            finally:
                for parent, child, module in before:
                    setattr(parent, child, module)


def _sites(
    language: nn.Module, rank: int, alpha: float, dropout: float, targets: str | tuple[str, ...]
) -> list[tuple[str, nn.Module, str, Any]]:
    """PEFT's layers with where they belong: name, parent, name in the parent, layer. The model is left as it was."""
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    linear = [name for name, module in language.named_modules() if isinstance(module, nn.Linear)]
    ends = sorted({name.rpartition(".")[2] for name in linear})
    wanted = ends if targets == ALL else [targets] if isinstance(targets, str) else list(targets)
    if unknown := [name for name in wanted if name not in ends]:
        raise BackboneError(
            f"targets={unknown[0]!r} is no linear layer of the language model; choose {ALL!r} or of {', '.join(ends)}"
        )
    names = [name for name in linear if name.rpartition(".")[2] in wanted]
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names)  # type: ignore[arg-type]
    known = set(vars(language))
    inject_adapter_in_model(config, language, _NAME)
    layers = [(name, layer) for name, layer in language.named_modules() if isinstance(layer, BaseTunerLayer)]
    sites = []
    for name, layer in layers:
        above, _, child = name.rpartition(".")
        parent = language.get_submodule(above)
        setattr(parent, child, layer.get_base_layer())
        sites.append((name, parent, child, layer))
    for extra in set(vars(language)) - known:
        delattr(language, extra)
    return sites


def _float(layer: nn.Linear) -> nn.Parameter:
    """The weight of a layer, in float32 whatever the backbone has: small steps would be lost in sixteen bits."""
    layer.weight.data = layer.weight.data.float()
    return layer.weight.requires_grad_(True)  # type: ignore[return-value]


def _plant(root: nn.Module, path: str, leaf: nn.Module) -> None:
    *above, last = path.split(".")
    for part in above:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]  # type: ignore[assignment]
    root.add_module(last, leaf)


def _made(
    backbone: GenerativeVLM,
    rank: int,
    alpha: float,
    dropout: float,
    targets: str | tuple[str, ...],
    values: dict[str, torch.Tensor],
) -> LowRankAdapter:
    with torch.random.fork_rng(devices=[]):  # initial values are drawn and overwritten
        adapter = LowRankAdapter(backbone, rank, alpha, dropout, targets)
    adapter.load_state_dict(values)
    return adapter

"""A run as a folder that transformers opens by itself: a plain model with merged weights, and a direction a class."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from acclimate import __version__
from acclimate.backbones.merging import is_plain, merge, plain_image_features, save_plain
from acclimate.errors import ConfigError, RunError
from acclimate.exporting.folder import target_of, whole_or_not
from acclimate.exporting.graph import check_exports
from acclimate.training.checkpoint import save_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from acclimate.methods import Classifier
    from acclimate.methods.parts.plain import PlainForm
    from acclimate.runs import AdaptedModel

EMBEDDINGS, README = "class_embeddings.safetensors", "README.md"
USUAL = "transformers"  # name of the folder in that of the run
KNOWN = (
    *(EMBEDDINGS, README, "config.json", "model.safetensors", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "chat_template.jinja"),
)
TOLERANCE = 1e-4  # of probabilities
IMAGES = 5  # of random numbers, on which the folder is compared with the run


@dataclass(frozen=True)
class Saved:
    """What was written.

    Attributes:
        folder: where.
        architecture: name of the class in transformers.
        classes: number of classes.
        size: bytes of all files.
        difference: how far probabilities of the plain model are from those of the run, at most, on random numbers.
    """

    folder: Path
    architecture: str
    classes: int
    size: int
    difference: float


def export_transformers(model: AdaptedModel, out: str | os.PathLike[str] | None = None) -> Saved:
    """Write a run as a folder for transformers, after it was seen to say what the run says.

    The folder has a `CLIPModel` or `SiglipModel` whose weights hold what the method has changed in them, with its
    processors; `class_embeddings.safetensors` with `embeddings` w (C, E), `scale` s and `bias` b (C,), the names of the
    classes as JSON in its metadata; and a README.md that says how probabilities are made of them:
    softmax(s norm(f(x)) . w_c + b_c). It is whole or not there at all; an earlier export in its place is replaced.

    Args:
        model: of a run that tells one class an image apart, by a method whose classes are directions; on the CPU.
        out: the folder; none: `transformers` in the run folder.

    Raises:
        ConfigError: the method says something that no weights and directions say, or the model is not on the CPU.
        RunError: the folder holds something else or cannot be written, or does not say what the run says.
    """
    if not model.task.exclusive:
        raise ConfigError(f"{model.task.title.lower()} has no such export; give a run that tells one class an image")
    if model.backbone.device.type != "cpu":
        raise ConfigError(f"the model is on {model.backbone.device}; load it with `device='cpu'` to export it")
    method = check_exports(model.method).eval()
    form = plain_form(method)
    with whole_or_not(target_of(model, out, USUAL, KNOWN)) as (target, part):
        write_plain(method, form, part)
        difference = compare_plain(method, part)
        size = sum(file.stat().st_size for file in part.iterdir())
    name = type(model.backbone.model).__name__
    return Saved(target, name, len(model.class_names), size, difference)


def plain_form(method: Classifier) -> PlainForm:
    """Return what a method says in terms of a plain dual encoder.

    Raises:
        ConfigError: it says something else.
    """
    form = method.plain_form() if is_plain(method.backbone) else None
    if form is None:
        raise ConfigError(
            f"{method.name} on '{method.backbone.name}' computes what no plain model of transformers does; write it "
            "with `acclimate export --to onnx`"
        )
    return form


@torch.no_grad()
def write_plain(method: Classifier, form: PlainForm, folder: Path) -> None:
    """Write the files into a folder."""
    backbone = method.backbone
    save_plain(merge(backbone, form.changes, form.projection), backbone, folder)
    tensors = {
        "embeddings": method.of_bound(form.embeddings.T).T.contiguous(),
        "scale": torch.tensor(form.scale),
        "bias": method.of_bound(form.bias[None])[0].contiguous(),
    }
    told = {"classes": list(method.class_names), "method": method.name, "acclimate": __version__}
    save_tensors(tensors, folder / EMBEDDINGS, {"made_of": json.dumps(told, ensure_ascii=False)})
    text = resources.files("acclimate.exporting").joinpath("plain.md").read_text(encoding="utf-8")
    name = type(backbone.model).__name__
    (folder / README).write_text(text.replace("MODEL_CLASS", name).replace("METHOD", method.name), encoding="utf-8")


@torch.no_grad()
def plain_probabilities(folder: Path, pixels: Tensor) -> Tensor:
    """Return what such a folder says of normalised pixels (B, 3, H, W): probabilities (B, C)."""
    from safetensors.torch import load_file

    known = load_file(folder / EMBEDDINGS)
    images = F.normalize(plain_image_features(folder, pixels).float(), dim=-1)
    return (known["scale"] * images @ known["embeddings"].T + known["bias"]).softmax(-1)


@torch.no_grad()
def compare_plain(method: Classifier, folder: Path, images: int = IMAGES) -> float:
    """Return how far the probabilities of such a folder are from those of the method, at most, on random numbers.

    Raises:
        RunError: too far.
    """
    from acclimate.training.batch import Batch
    from acclimate.training.encoding import encode

    size = method.backbone.transform.output_size
    pixels = torch.randn(images, 3, *size, generator=torch.Generator().manual_seed(images))
    batch = Batch(method.reading) | encode(method.backbone, pixels, method.inputs.prediction)
    ours = method.of_bound(method.logits(batch)).float().softmax(-1)
    difference = float((ours - plain_probabilities(folder, pixels)).abs().max())
    if not difference <= TOLERANCE:
        raise RunError(f"the plain model does not say what the run says: probabilities differ by {difference:.2g}")
    return difference

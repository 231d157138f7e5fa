"""What the weights do not say: activation, attention heads, pixels. From the configuration, the catalogue or an option.

Where there is an `open_clip_config.json`, it says everything, and what it leaves out is open_clip's default. For a
bare file the rules are: heads are 64 wide, but for the widths in naming.yaml; pixels are scaled, cropped and
normalised as OpenAI's CLIP does, as all model definitions of open_clip do by default; the activation cannot be seen,
and is never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.backbones.catalogue import BackboneInfo
from acclimate.backbones.open_clip import naming
from acclimate.backbones.open_clip.configuration import form_of, read_config
from acclimate.backbones.open_clip.mapping import ONE_MODEL, Sizes
from acclimate.backbones.open_clip.names import CONFIG
from acclimate.data.processors import CLIP_MEAN, CLIP_STD
from acclimate.errors import BackboneError

ACTIVATIONS = ("quick_gelu", "gelu")
HEAD, TEXT_HEADS = 64, 8  # open_clip's defaults
EPSILON = 1e-5


@dataclass(frozen=True)
class Facts:
    """What is needed beside weights and sizes, and where it is from.

    Attributes:
        activations: of the image and the text tower, as transformers calls them.
        heads: attention heads of the image and the text tower.
        epsilons: of the norms of the image and the text tower.
        image_size: side in pixels.
        mean, std: of the pixels, by channel.
        squash: stretch to a square, in place of scaling the short side and cropping.
        bilinear: how images are scaled; bicubic otherwise.
        tokenizer: what the configuration calls the tokenizer; none: CLIP's own.
        source: where the activation is from, for a note.
    """

    activations: tuple[str, str]
    heads: tuple[int, int]
    image_size: int
    source: str
    epsilons: tuple[float, float] = (EPSILON, EPSILON)
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    squash: bool = False
    bilinear: bool = False
    tokenizer: str | None = None


def tower_configs(sizes: Sizes, facts: Facts) -> list[dict[str, Any]]:
    """Return what the config.json of a Hugging Face folder says of the image and of the text tower, of any family.

    Args:
        sizes: read from the weights.
        facts: what these do not say.
    """
    shapes = (
        (sizes.vision_width, sizes.vision_inner, sizes.vision_layers),
        (sizes.text_width, sizes.text_inner, sizes.text_layers),
    )
    return [
        {
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": facts.heads[place],
            "hidden_act": facts.activations[place],
            "layer_norm_eps": facts.epsilons[place],
        }
        for place, (width, inner, layers) in enumerate(shapes)
    ]


def facts_of(
    file: Path, names: Iterable[str], sizes: Sizes, info: BackboneInfo | None = None, activation: str | None = None
) -> Facts:
    """Return what is known of a checkpoint beside its weights.

    Args:
        file: the weights; a configuration is looked for beside them.
        names: of the tensors.
        sizes: from their shapes.
        info: what the catalogue knows of the file.
        activation: as the user says.

    Raises:
        BackboneError: something is not known, or does not belong to the weights.
    """
    if activation is not None and activation not in ACTIVATIONS:
        raise BackboneError(f"`activation={activation!r}`: give {' or '.join(ACTIVATIONS)}")
    if (file.parent / CONFIG).is_file():
        return _configured(file.parent / CONFIG, sizes, activation)
    known = info.activation if info is not None else ""
    if activation is not None:
        source = "as you say"
    elif set(naming()["openai"]) <= set(names):
        activation, source = "quick_gelu", "this is OpenAI's own form"
    elif info is not None and known:
        activation, source = known, f"catalogue: {info.title}"
    else:
        raise BackboneError(
            f"{file}: quick_gelu or gelu cannot be seen from weights, and there is no {CONFIG} beside them; say which "
            "with `activation` (acclimate backbones convert): quick_gelu for what was trained from OpenAI's CLIP, gelu "
            "for what was trained from LAION's"
        )
    heads = (_heads(file, sizes.vision_width, "image"), _heads(file, sizes.text_width, "text"))
    size = sizes.grid * sizes.patch
    if info is not None and info.input_size != size:
        raise BackboneError(
            f"{file}: {info.title} reads {info.input_size} pixels, these weights {size}; give the file another name "
            f"if it is another model, and put its {CONFIG} beside it"
        )
    return Facts((activation, activation), heads, size, source)


def _heads(file: Path, width: int, tower: str) -> int:
    size = naming()["head_widths"].get(width, HEAD)
    if width % size:
        raise BackboneError(
            f"{file}: weights do not say how many attention heads there are, and heads of {size} do not fit into the "
            f"{tower} tower's width of {width}; put an {CONFIG} beside the file, with head_width and heads"
        )
    return width // size


def _configured(path: Path, sizes: Sizes, activation: str | None) -> Facts:
    blocks = read_config(path)
    if form_of(blocks) != "clip":
        raise BackboneError(f"{path} names towers of timm and BERT, and the weights are those of a CLIP; {ONE_MODEL}")
    check_sizes(path, blocks, sizes)
    vision, text = blocks["vision_cfg"], blocks["text_cfg"]
    quick, source = _quick(path, blocks["model_cfg"]), path.name
    if activation is not None:
        quick, source = activation == "quick_gelu", "as you say"
    heads = (_divided(path, sizes.vision_width, vision.get("head_width", HEAD)), text.get("heads", TEXT_HEADS))
    if type(heads[1]) is not int or heads[1] < 1 or sizes.text_width % heads[1]:
        raise BackboneError(f"{path}: text_cfg.heads={heads[1]!r} do not divide the width {sizes.text_width}")
    return Facts(
        (_activation(path, "vision_cfg", vision, quick), _activation(path, "text_cfg", text, quick)),
        heads,
        image_size_of(path, vision, sizes),
        source,
        (_epsilon(vision), _epsilon(text)),
        **pixels_of(path, blocks["preprocess_cfg"]),
        tokenizer=text.get("hf_tokenizer_name") or None,
    )


def check_sizes(path: Path, blocks: Mapping[str, Mapping[str, Any]], sizes: Sizes) -> None:
    """Refuse a configuration that says other sizes than the weights have.

    Raises:
        BackboneError: so it is.
    """
    told = {
        ("model_cfg", "embed_dim"): sizes.embed_dim,
        ("vision_cfg", "width"): sizes.vision_width,
        ("vision_cfg", "layers"): sizes.vision_layers,
        ("vision_cfg", "patch_size"): sizes.patch,
        ("text_cfg", "width"): sizes.text_width,
        ("text_cfg", "layers"): sizes.text_layers,
        ("text_cfg", "context_length"): sizes.context_length,
        ("text_cfg", "vocab_size"): sizes.vocabulary,
    }
    for (block, key), size in told.items():
        if blocks[block].get(key, size) != size:
            raise BackboneError(
                f"{path}: {block}.{key}={repr(blocks[block][key])[:40]}, and the weights say {size}; {ONE_MODEL}"
            )


def _quick(path: Path, model: Mapping[str, Any]) -> bool:
    value = model.get("quick_gelu", False)
    if isinstance(value, str) and value.lower() == "true":  # as some repositories write it
        return True
    if not isinstance(value, bool) and value is not None:
        raise BackboneError(f"{path}: model_cfg.quick_gelu={value!r}; write true or false")
    return bool(value)


def _activation(path: Path, block: str, config: Mapping[str, Any], quick: bool) -> str:
    options = config.get("act_kwargs") or {}
    if not options:
        return "quick_gelu" if quick else "gelu"
    if quick or options not in ({"approximate": "tanh"}, {"approximate": "none"}):
        raise BackboneError(f"{path}: {block}.act_kwargs={repr(options)[:60]} cannot be followed")
    return "gelu_pytorch_tanh" if options["approximate"] == "tanh" else "gelu"


def _epsilon(config: Mapping[str, Any]) -> float:
    return float((config.get("norm_kwargs") or {}).get("eps", EPSILON))


def _divided(path: Path, width: int, size: Any) -> int:
    if type(size) is not int or size < 1 or width % size:
        raise BackboneError(f"{path}: vision_cfg.head_width={size!r} does not divide the width {width}; {ONE_MODEL}")
    return width // size


def image_size_of(path: Path, vision: Mapping[str, Any], sizes: Sizes) -> int:
    """Return the side of an image in pixels, as a configuration says or as the weights have it.

    Raises:
        BackboneError: these do not fit together.
    """
    size = vision.get("image_size", sizes.grid * sizes.patch)
    size = size[0] if isinstance(size, list) and len(set(map(str, size))) == 1 else size
    if type(size) is not int or size // sizes.patch != sizes.grid:
        raise BackboneError(
            f"{path}: vision_cfg.image_size={size!r}, and the weights have {sizes.grid} x {sizes.grid} patches of "
            f"{sizes.patch} pixels; {ONE_MODEL}"
        )
    return size


def pixels_of(path: Path, config: Any) -> dict[str, Any]:
    """Return what `preprocess_cfg` says of the pixels: entries of `Facts`.

    Raises:
        BackboneError: it cannot be followed.
    """
    found: dict[str, Any] = {}
    for key, usual in (("mean", CLIP_MEAN), ("std", CLIP_STD)):
        value = config.get(key) or usual
        value = [value] * 3 if isinstance(value, int | float) else value
        if len(value) != 3 or not all(isinstance(one, int | float) for one in value):
            raise BackboneError(f"{path}: preprocess_cfg.{key}={repr(value)[:60]} are no three numbers; copy it again")
        found[key] = tuple(map(float, value))
    mode = config.get("resize_mode") or "shortest"
    if mode not in ("shortest", "squash"):
        raise BackboneError(f"{path}: preprocess_cfg.resize_mode={mode!r} cannot be followed, shortest and squash can")
    # Of other words (random) open_clip makes bicubic where it does not train.
    return {**found, "squash": mode == "squash", "bilinear": config.get("interpolation") == "bilinear"}

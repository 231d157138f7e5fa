"""What a family of generative models must tell about its Hugging Face model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor, nn

from acclimate.backbones.architecture import Architecture
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.dual_encoder import DualEncoder

Grid = tuple[int, int, int]


class OwnShape(NamedTuple):
    """Vectors (T, D') of an image in its own shape, its grid of patches, and the tiles that it was cut into."""

    tokens: Tensor
    grid: Grid | None = None
    tiles: tuple[int, int] = (0, 0)


# Entries of each part's configuration that the forward pass reads beside the weights, where the family has them.
_TEXT = (
    "num_hidden_layers", "hidden_act", "hidden_activation", "rms_norm_eps", "num_attention_heads",
    "num_key_value_heads", "head_dim", "rope_theta", "rope_parameters", "sliding_window", "layer_types",
    "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping",
)  # fmt: skip
_VISION = (
    "num_hidden_layers", "depth", "hidden_act", "layer_norm_eps", "num_attention_heads", "num_heads", "image_size",
    "patch_size", "spatial_merge_size", "temporal_patch_size", "window_size", "fullatt_block_indexes",
    "deepstack_visual_indexes",
)  # fmt: skip
_MODEL = (
    "projector_hidden_act", "vision_feature_layer", "vision_feature_select_strategy", "downsample_ratio",
    "scale_factor", "mm_tokens_per_image",
)  # fmt: skip


class VLMFamily(ABC):
    """A generative model's weights, seen as a vision tower, a connector, a language model and its head.

    A new family is one subclass, listed in `acclimate.backbones.generative.families`.

    Args:
        model: the Hugging Face model; its parameters stay where they are.

    Attributes:
        name: the `model_type` of its config.json.
        model_class: name of the transformers class.
        processor: family of its image processor, for files that do not name theirs.
        shapes: the image processor of transformers that leaves images their own shapes; None: all have the same.
        side: pixels a side of the images that it takes.
        image_tokens: number T of vectors of such an image.
        parts_from: the first of these that stands for a part of the image; from there on they are a square in the order
            of reading. None: they are no such square.
        image_id: the placeholder of a vector.
        token_width: width D of the language model.
        payload: width D' of what takes the place of a placeholder, D in most families.
        vision_width: width of what the connector reads.
        vision_tokens: number N of vectors that it reads of an image, where what it gives is what stands for the image;
            None where the family orders, packs or extends that.
        dual: the dual encoder that the vision tower belongs to; None: it belongs to this model alone.
    """

    name: ClassVar[str]
    model_class: ClassVar[str]
    processor: ClassVar[str] = "siglip"
    shapes: ClassVar[str | None] = None
    axes: ClassVar[int] = 1  # that positions have
    shares_openings: ClassVar[bool] = True  # whether what stands before a text is the same whatever the text
    continues_images: ClassVar[bool] = True  # whether an image may run behind what is cached already
    _language: ClassVar[str] = "language_model"
    _connector: ClassVar[str] = "multi_modal_projector"

    side: int
    image_tokens: int
    vision_width: int
    parts_from: int | None = 0
    vision_tokens: int | None = None
    dual: DualEncoder | None = None

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config
        self.text_config, self.vision_config = model.config.text_config, model.config.vision_config
        self.inner: Any = model.model
        self.language: Any = getattr(self.inner, self._language)
        self.embedding: nn.Embedding = model.get_input_embeddings()
        self.head: nn.Linear = model.get_output_embeddings()
        self.image_id = int(model.config.image_token_id)
        self.token_width = int(self.text_config.hidden_size)
        self.payload = self.token_width
        self.context_length = int(self.text_config.max_position_embeddings)
        self.vocabulary = int(self.head.weight.shape[0])

    @property
    def connector(self) -> nn.Module:
        """What maps vision tokens into the language model."""
        return getattr(self.inner, self._connector)

    @property
    def sliding_window(self) -> int | None:
        """Tokens back that some layers see; None: all see all."""
        kinds = getattr(self.text_config, "layer_types", None) or ()
        return self.text_config.sliding_window if "sliding_attention" in kinds else None

    @property
    def architecture(self) -> Architecture:
        """What the forward pass takes from config.json."""
        parts = {"model": (self.config, _MODEL), "text": (self.text_config, _TEXT)}
        parts["vision"] = (self.vision_config, _VISION)
        settings = {
            part: {name: plain for name in names if (plain := _plain(getattr(config, name, None))) is not None}
            for part, (config, names) in parts.items()
        }
        return Architecture(settings, settings)

    # ---------------------------------------------------------------------------------------------------------- images

    def prepare(self, processor: Mapping[str, Any]) -> None:  # noqa: B027 (most families need nothing of it)
        """Take from the image processor's configuration what the model's own does not say."""

    def processor_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The configuration of its image processor, changed where needed so that all images take the same tokens."""
        return config

    @property
    def summary_width(self) -> int:
        """Width S of what `features` has of a whole image."""
        return self.vision_width

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pixels (B, 3, H, W) to what the language model, the connector and a classifier read.

        Returns:
            Vectors (B, T, D'), the tokens that the connector reads (B, N, V), and one for each image (B, S): their
            mean, where the vision tower gives no better one.
        """
        with self.reading() as read:
            tokens = self._features(pixels)
        vision = read[0].reshape(len(pixels), -1, read[0].shape[-1])
        return tokens.reshape(len(pixels), -1, self.payload), vision, vision.mean(1)

    def own(self, inputs: Mapping[str, Tensor]) -> OwnShape:
        """One image in its own shape, from what the image processor `shapes` makes of it."""
        raise NotImplementedError

    @contextmanager
    def reading(self) -> Iterator[list[Tensor]]:
        """Keep what the connector reads within."""
        read: list[Tensor] = []
        hook = self.connector.register_forward_pre_hook(lambda _, args: read.append(args[0]))
        try:
            yield read
        finally:
            hook.remove()

    @abstractmethod
    def _features(self, pixels: Tensor) -> Tensor:
        """Pixels to vectors (B, T, D') or (B * T, D')."""

    # ------------------------------------------------------------------------------------------------------------ text

    def plain_text(self, tokenizer: Any, instruction: str, response: str | None) -> str | None:
        """The prompt, or prompt and response, of a family that has its own way; None: by its chat template."""
        return None

    def plain_examples(self, tokenizer: Any, examples: Sequence[tuple[str, str]]) -> str:
        """Questions and answers about other images, to stand before the prompt of a family that has its own way.

        Raises:
            BackboneError: the family reads one image.
        """
        raise BackboneError(f"{self.name} reads one image, so no examples can stand before a question; use examples=0")

    def begun(self, tokenizer: Any, text: str) -> bool:
        """Whether the text has its first special token already."""
        return tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)

    def framed(self, text: str, tokenizer: Any, tiles: tuple[int, int]) -> str:
        """The text with the template's place for the image written as the processor writes it."""
        return text

    def closing(self, tokenizer: Any) -> int | None:
        """The id that ends an image, where that is not its last placeholder."""
        return None

    # --------------------------------------------------------------------------------------------------------- forward

    def prefill(self, ids: Tensor, mask: Tensor, response: Tensor) -> dict[str, Tensor]:
        """More arguments of a pass that begins conversations; all are (B, L)."""
        return {}

    def positions(self, ids: Tensor, mask: Tensor, grids: Sequence[Grid | None]) -> Tensor:
        """Position of each token, (B, L) or (3, B, L)."""
        return (mask.long().cumsum(1) - 1).clamp(min=0)

    def language_inputs(self, image: Tensor, where: Tensor) -> dict[str, Any]:
        """More arguments of the language model: what of the payload (rows, D') does not enter with the embedding."""
        return {}

    def logits(self, hidden: Tensor) -> Tensor:
        """Final hidden states (..., D) to logits (..., V) in float32."""
        return self.head(hidden).float()


def _plain(value: Any) -> Any:
    """A setting as JSON has it; None where it has no such form."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool) else None


def square(config: Mapping[str, Any], side: int) -> dict[str, Any]:
    """An image processor's configuration that stretches every image to one square and does nothing else to it."""
    kept = ("image_mean", "image_std", "do_normalize", "do_rescale", "rescale_factor", "resample")
    stretched = {"size": {"height": side, "width": side}, "do_center_crop": False}
    return {name: config[name] for name in kept if name in config} | stretched


def one_side(value: Any) -> int:
    """The side of square images.

    Raises:
        BackboneError: they are not square.
    """
    sides = {int(side) for side in value} if isinstance(value, list | tuple) else {int(value)}
    if len(sides) != 1:
        raise BackboneError(f"vision_config.image_size={value} is not square, which is not supported")
    return sides.pop()

"""Tiny generative vision-language models with random weights, saved as transformers saves real ones."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer, LlavaConfig

import acclimate.backbones
from acclimate.backbones import Conversation, GenerativeVLM, load_vlm
from tests.helpers.tiny_backbones import randomise

MINI_VLM = Path(acclimate.backbones.__file__).parent / "mini_vlm"
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    **TOKENS,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


@dataclass
class VLMPair:
    """A tiny model loaded by us, and the same folder loaded by transformers alone.

    Attributes:
        folder: with its files.
        vlm: ours.
        plain: transformers'.
        inputs: what transformers' forward takes for conversations of one length, beside their ids: from the id of
            image tokens, ids (B, L), where responses stand (B, L), and pixels (B, 3, H, W).
    """

    folder: Path
    vlm: GenerativeVLM
    plain: Any
    inputs: Callable[[int, Tensor, Tensor, Tensor], dict[str, Tensor]]

    @property
    def image_id(self) -> int:
        """The id of image tokens."""
        return int(self.plain.config.image_token_id)

    def pixels(self, count: int, seed: int = 0) -> Tensor:
        """Random normalised pixels."""
        size = self.vlm.image_size
        return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))

    def plain_logits(self, conversation: Conversation, pixels: Tensor) -> Tensor:
        """Logits (L, V) of all positions of one conversation without exemplars, by transformers' forward."""
        ids, response = conversation.ids[None], conversation.response[None]
        with torch.no_grad():
            logits = self.plain(input_ids=ids, **self.inputs(self.image_id, ids, response, pixels[None])).logits[0]
        cap = getattr(self.plain.config.text_config, "final_logit_softcapping", None)
        if cap and "softcap" not in inspect.getsource(type(self.plain).forward):
            return cap * torch.tanh(logits.float() / cap)  # transformers 5.6 leaves it out of PaliGemma 2
        return logits.float()


def load_vlm_pair(folder: Path, model_class: str, inputs: Callable[..., dict[str, Tensor]]) -> VLMPair:
    """Load a folder both ways."""
    plain = getattr(transformers, model_class).from_pretrained(folder, dtype=torch.float32).eval()
    return VLMPair(folder, load_vlm(folder), plain, inputs)


def tiny_llava(folder: Path, text: dict[str, Any] | None = None, seed: int = 0, **settings: Any) -> Path:
    """Save a LLaVA with mini-vlm's tokenizer and chat template.

    Args:
        folder: to make.
        text: entries of text_config that differ from `TEXT`.
        seed: of the weights.
        settings: entries of the configuration itself.
    """
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **VISION},
        text_config={"model_type": "llama", "vocab_size": 6144, **TEXT, **(text or {})},
        image_token_index=3,
        **settings,
    )
    randomise(transformers.LlavaForConditionalGeneration(config), seed).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(MINI_VLM / name, folder)
    write_processor(folder, "CLIPImageProcessor", crop_size={"height": 32, "width": 32}, size={"shortest_edge": 32})
    return folder


def write_processor(folder: Path, kind: str, **entries: Any) -> None:
    """Write the configuration of an image processor."""
    usual = {
        "image_processor_type": kind,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(usual | entries))


def tokenizer_with(specials: list[str], folder: Path, **entries: Any) -> Any:
    """mini-vlm's tokenizer with more special tokens, saved in a folder."""
    tokenizer = AutoTokenizer.from_pretrained(MINI_VLM)
    tokenizer.add_special_tokens({"extra_special_tokens": specials}, replace_extra_special_tokens=False)
    for name, value in entries.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _save(folder: Path, model_class: str, config: Any, seed: int = 0) -> None:
    randomise(getattr(transformers, model_class)(config), seed).save_pretrained(folder)


def _chat(image: str, user: str, assistant: str, end: str) -> str:
    """A chat template: every turn is a role, the image where there is one, the text, and the end."""
    return (
        "{% for m in messages %}{{ '" + user + "' if m['role'] == 'user' else '" + assistant + "' }}"
        "{% for c in m['content'] %}{% if c['type'] == 'image' %}" + image + "{% else %}{{ c['text'] }}{% endif %}"
        "{% endfor %}" + end + "\n{% endfor %}{% if add_generation_prompt %}" + assistant + "{% endif %}"
    )


IM = {"user": "<|im_start|>user\n", "assistant": "<|im_start|>assistant\n", "end": "<|im_end|>"}


def tiny_internvl(folder: Path, seed: int = 0) -> Path:
    """Save an InternVL on Qwen2: four vectors an image."""
    tokenizer = tokenizer_with(
        ["<img>", "</img>", "<IMG_CONTEXT>", "<|im_start|>", "<|im_end|>"],
        folder,
        chat_template=_chat("<IMG_CONTEXT>\n", **IM),
    )
    config = transformers.InternVLConfig(
        vision_config={"model_type": "internvl_vision", **VISION, "image_size": [32, 32], "patch_size": [8, 8]},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    _save(folder, "InternVLForConditionalGeneration", config, seed)
    write_processor(folder, "GotOcr2ImageProcessor", crop_to_patches=True, size={"height": 32, "width": 32})
    return folder


def tiny_idefics3(folder: Path, kind: str = "Idefics3") -> Path:
    """Save an Idefics3 or a SmolVLM on Llama: four vectors an image."""
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    specials = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles]
    tokenizer = tokenizer_with(
        specials, folder, chat_template=_chat("<image>", "User:", "Assistant:", "<end_of_utterance>")
    )
    config = getattr(transformers, f"{kind}Config")(
        vision_config=VISION,
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        image_token_id=3,
        scale_factor=2,
    )
    _save(folder, f"{kind}ForConditionalGeneration", config)
    write_processor(
        folder, f"{kind}ImageProcessor", size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_pad=True,
        do_image_splitting=True,
    )  # fmt: skip
    return folder


def tiny_smolvlm(folder: Path) -> Path:
    """Save a SmolVLM."""
    return tiny_idefics3(folder, "SmolVLM")


def tiny_paligemma(folder: Path, **text: Any) -> Path:
    """Save a PaliGemma on Gemma: sixteen vectors an image, no chat template."""
    tokenizer = tokenizer_with([], folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = transformers.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", **VISION, "vision_use_head": False},
        text_config={"model_type": "gemma", "vocab_size": len(tokenizer), **TEXT, **text},
        image_token_index=3,
        projection_dim=32,
        hidden_size=32,
    )
    _save(folder, "PaliGemmaForConditionalGeneration", config)
    write_processor(folder, "SiglipImageProcessor", size={"height": 32, "width": 32})
    return folder


def tiny_paligemma2(folder: Path) -> Path:
    """Save a PaliGemma on Gemma 2: a window of 24 tokens in its first layer, capped logits."""
    return tiny_paligemma(
        folder, model_type="gemma2", sliding_window=24, final_logit_softcapping=5.0, query_pre_attn_scalar=8
    )


def tiny_gemma3(folder: Path, window: int = 512) -> Path:
    """Save a Gemma 3: four vectors an image."""
    specials = ["<start_of_image>", "<end_of_image>", "<image_soft_token>", "<start_of_turn>", "<end_of_turn>"]
    template = "{{ bos_token }}" + _chat(
        "<start_of_image>", "<start_of_turn>user\n", "<start_of_turn>model\n", "<end_of_turn>"
    )
    tokenizer = tokenizer_with(specials, folder, chat_template=template)
    begin, end, image = (tokenizer.convert_tokens_to_ids(token) for token in specials[:3])
    config = transformers.Gemma3Config(
        vision_config={"model_type": "siglip_vision_model", **VISION, "vision_use_head": False},
        text_config={
            "vocab_size": len(tokenizer), **TEXT, "query_pre_attn_scalar": 8, "sliding_window": window,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        mm_tokens_per_image=4,
        boi_token_index=begin,
        eoi_token_index=end,
        image_token_index=image,
    )  # fmt: skip
    _save(folder, "Gemma3ForConditionalGeneration", config)
    write_processor(folder, "Gemma3ImageProcessor", size={"height": 32, "width": 32})
    return folder


def tiny_gemma3_near(folder: Path) -> Path:
    """Save a Gemma 3 whose first layer sees 16 tokens."""
    return tiny_gemma3(folder, 16)


def tiny_llava_next(folder: Path, kind: str = "LlavaNext") -> Path:
    """Save a LLaVA-NeXT (four tiles and the whole) or a LLaVA-OneVision (one tile and the whole)."""
    tokenizer = tokenizer_with(
        ["<|im_start|>", "<|im_end|>", "<video>"], folder, chat_template=_chat("<image>\n", **IM)
    )
    onevision = kind == "LlavaOnevision"
    vision = (
        {"model_type": "siglip_vision_model", "vision_use_head": False}
        if onevision
        else {"model_type": "clip_vision_model"}
    )
    points = [[32, 32], [32, 64], [64, 32], [64, 64]]
    more = {"video_token_index": tokenizer.convert_tokens_to_ids("<video>")} if onevision else {}
    config = getattr(transformers, f"{kind}Config")(
        vision_config={**vision, **VISION},
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        image_token_index=3,
        image_grid_pinpoints=points if onevision else points[1:],
        **more,
    )
    _save(folder, f"{kind}ForConditionalGeneration", config)
    size = {"height": 32, "width": 32}
    write_processor(
        folder, f"{kind}ImageProcessor", size=size, crop_size=size, image_grid_pinpoints=config.image_grid_pinpoints
    )
    return folder


def tiny_llava_onevision(folder: Path) -> Path:
    """Save a LLaVA-OneVision."""
    return tiny_llava_next(folder, "LlavaOnevision")


def tiny_qwen(folder: Path, kind: str = "Qwen2_5_VL") -> Path:
    """Save a Qwen2.5-VL or Qwen3-VL: four vectors an image."""
    specials = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    template = _chat("<|vision_start|><|image_pad|><|vision_end|>", **IM)
    tokenizer = tokenizer_with(specials, folder, chat_template=template)
    start, end, image, video = (tokenizer.convert_tokens_to_ids(token) for token in specials[2:])
    vision = {"depth": 2, "hidden_size": 24, "intermediate_size": 32, "num_heads": 2, "patch_size": 4}
    vision |= {"spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32}
    if kind == "Qwen3VL":
        vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    else:
        vision |= {"fullatt_block_indexes": [1], "window_size": 16}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    config = getattr(transformers, f"{kind}Config")(
        vision_config=vision,
        text_config={"vocab_size": len(tokenizer), **TEXT, "rope_parameters": rope, "max_window_layers": 2},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    _save(folder, f"{kind}ForConditionalGeneration", config)
    write_processor(
        folder, "Qwen2VLImageProcessor", size={"shortest_edge": 64, "longest_edge": 256}, patch_size=4, merge_size=2,
        temporal_patch_size=2,
    )  # fmt: skip
    return folder


def tiny_qwen3(folder: Path) -> Path:
    """Save a Qwen3-VL."""
    return tiny_qwen(folder, "Qwen3VL")


def _pixels_alone(image: int, ids: Tensor, response: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": pixels}


def _pixels_of_several(image: int, ids: Tensor, response: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": pixels[:, None]}


def _prefix_marked(image: int, ids: Tensor, response: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": pixels, "token_type_ids": response.long()}


def _image_marked(image: int, ids: Tensor, response: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": pixels, "token_type_ids": (ids == image).long()}


def _tiles(image: int, ids: Tensor, response: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    """The whole and its tiles of 32 pixels."""
    count = pixels.shape[-1] // 32
    tiles = [
        pixels[:, :, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        for row in range(count)
        for column in range(count)
    ]
    whole = pixels if count == 1 else torch.nn.functional.interpolate(pixels, (32, 32), mode="bicubic", antialias=True)
    sizes = torch.tensor([pixels.shape[2:]] * len(pixels))
    return {"pixel_values": torch.stack([whole, *tiles], dim=1), "image_sizes": sizes}


def _patches(image: int, ids: Tensor, response: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    """Patches of four pixels a side as transformers' own processor orders them."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    off = {"do_resize": False, "do_rescale": False, "do_normalize": False, "do_convert_rgb": False}
    processor = Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, temporal_patch_size=2, **off)
    made = processor(images=[one.numpy() for one in pixels], input_data_format="channels_first", return_tensors="pt")
    marked = (ids == image).int()
    return {**made, "mm_token_type_ids": marked}


FAMILIES: dict[str, tuple[Callable[[Path], Path], str, Callable[..., dict[str, Tensor]]]] = {
    "llava": (tiny_llava, "LlavaForConditionalGeneration", _pixels_alone),
    "llava_next": (tiny_llava_next, "LlavaNextForConditionalGeneration", _tiles),
    "llava_onevision": (tiny_llava_onevision, "LlavaOnevisionForConditionalGeneration", _tiles),
    "internvl": (tiny_internvl, "InternVLForConditionalGeneration", _pixels_alone),
    "idefics3": (tiny_idefics3, "Idefics3ForConditionalGeneration", _pixels_of_several),
    "smolvlm": (tiny_smolvlm, "SmolVLMForConditionalGeneration", _pixels_of_several),
    "paligemma": (tiny_paligemma, "PaliGemmaForConditionalGeneration", _prefix_marked),
    "paligemma2": (tiny_paligemma2, "PaliGemmaForConditionalGeneration", _prefix_marked),
    "gemma3": (tiny_gemma3, "Gemma3ForConditionalGeneration", _image_marked),
    "gemma3-near": (tiny_gemma3_near, "Gemma3ForConditionalGeneration", _image_marked),
    "qwen2_5_vl": (tiny_qwen, "Qwen2_5_VLForConditionalGeneration", _patches),
    "qwen3_vl": (tiny_qwen3, "Qwen3VLForConditionalGeneration", _patches),
}


def image_processor(folder: Path) -> Any:
    """transformers' image processor of a folder, in its Pillow form (for which some releases want torchvision)."""
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    kind = getattr(transformers, f"{settings.pop('image_processor_type')}Pil")
    more = {"return_row_col_info": True} if "return_row_col_info" in vars(kind) else {}
    try:
        return kind(**settings, **more)
    except ImportError:
        pytest.skip("this transformers wants torchvision for it")


def plain_ids(pair: VLMPair, instruction: str, image: Any) -> list[int]:
    """Ids of a prompt by transformers' processor, put together from its parts."""
    tokenizer, images = AutoTokenizer.from_pretrained(pair.folder), image_processor(pair.folder)
    name, sizes = pair.vlm.family, {"image_seq_length": pair.vlm.image_tokens}
    if name == "paligemma":
        images.image_seq_length = pair.vlm.image_tokens
        made = transformers.PaliGemmaProcessor(images, tokenizer)(images=[image], text=[f"<image>{instruction}"])
        return list(made["input_ids"][0])
    if name == "gemma3":
        for token, text in (("boi", "<start_of_image>"), ("eoi", "<end_of_image>"), ("image", "<image_soft_token>")):
            setattr(tokenizer, f"{token}_token", text)
            setattr(tokenizer, f"{token}_token_id", tokenizer.convert_tokens_to_ids(text))
        processor = transformers.Gemma3Processor(images, tokenizer, **sizes)
    elif name == "idefics3":
        processor = transformers.Idefics3Processor(images, tokenizer, image_seq_len=4)
    else:
        more = {"num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
        processor = transformers.LlavaProcessor(images, tokenizer, patch_size=8, **more)
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}
    text = processor.apply_chat_template(
        [turn], chat_template=pair.vlm.tokenizer.template, add_generation_prompt=True, tokenize=False
    )
    begun = text.startswith(tokenizer.bos_token)
    return list(processor(images=[image], text=[text], add_special_tokens=not begun)["input_ids"][0])

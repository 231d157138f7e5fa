"""Tiny dual encoders with random weights, saved as transformers saves real ones.

Weights are scaled so that every part of the model matters and features have a size of about one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertTokenizerFast,
    CLIPConfig,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

import acclimate.backbones

MINI_CLIP = Path(acclimate.backbones.__file__).parent / "mini_clip"
WORDS = ["a", "photo", "of", "the", "cat", "dog", "bare", "land", "storage", "tank", "tanks", "river", "mill", "large"]


def tiny_clip(
    path: Path,
    *,
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    projection: int = 24,
    legacy_eos: bool = False,
    context_length: int = 24,
    seed: int = 0,
    **save: Any,
) -> Path:
    """Save a small random CLIPModel with mini-clip's tokenizer (6144 tokens) and a matching image processor.

    Args:
        path: folder to make.
        text, vision: entries of text_config and vision_config that differ from the defaults below.
        projection: width of the joint space.
        legacy_eos: write the eos_token_id 2 of old checkpoints, which means pooling at the highest id.
        context_length: text positions.
        seed: of the weights.
        save: passed to save_pretrained, such as max_shard_size.
    """
    tokens = {"vocab_size": 6144, "bos_token_id": 6142, "eos_token_id": 2 if legacy_eos else 6143, "pad_token_id": 6143}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={**sizes, **tokens, "max_position_embeddings": context_length, **(text or {})},
        vision_config={**sizes, "hidden_size": 48, "image_size": 32, "patch_size": 8, **(vision or {})},
        projection_dim=projection,
    )
    model = randomise(CLIPModel(config), seed)
    model.save_pretrained(path, **save)
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        shutil.copy(MINI_CLIP / name, path)
    _rewrite(MINI_CLIP, path, "tokenizer_config.json", model_max_length=context_length)
    size = config.vision_config.image_size
    _rewrite(
        MINI_CLIP,
        path,
        "preprocessor_config.json",
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
    )
    return path


def tiny_siglip(
    path: Path,
    *,
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    context_length: int = 16,
    seed: int = 0,
    **save: Any,
) -> Path:
    """Save a small random SiglipModel with a unigram tokenizer of a few words and all letters.

    Args:
        path: folder to make.
        text, vision: entries of text_config and vision_config that differ from the defaults below; widths are equal.
        context_length: text positions.
        seed: of the weights.
        save: passed to save_pretrained.
    """
    tokenizer = _unigram(context_length)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = SiglipConfig(
        text_config={**sizes, **tokens, "max_position_embeddings": context_length, **(text or {})},
        vision_config={**sizes, "image_size": 32, "patch_size": 8, **(vision or {})},
    )
    randomise(SiglipModel(config), seed).save_pretrained(path, **save)
    tokenizer.save_pretrained(path)
    size = config.vision_config.image_size
    processor = {
        "image_processor_type": "SiglipImageProcessor",
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def tiny_metaclip2(path: Path, *, context_length: int = 24, seed: int = 0) -> Path:
    """Save a small random MetaClip2Model with a tokenizer of the form of XLM-V, whose texts end with the id 2."""
    tokenizer = _unigram(context_length, many_languages=True)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    config = MetaClip2Config(
        text_config={**sizes, **tokens, "max_position_embeddings": context_length},
        vision_config={**sizes, "hidden_size": 48, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    randomise(MetaClip2Model(config), seed).save_pretrained(path)
    tokenizer.save_pretrained(path)
    square = {"height": 32, "width": 32}
    _rewrite(MINI_CLIP, path, "preprocessor_config.json", size={"shortest_edge": 32}, crop_size=square)
    return path


def tiny_vision_text(
    path: Path, *, text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, seed: int = 0, **save: Any
) -> Path:
    """Save a small random VisionTextDualEncoderModel of a BERT (or what `text` says) and a ViT (or what `vision` says).

    Args:
        path: folder to make.
        text, vision: entries of text_config and vision_config that differ from the defaults below.
        seed: of the weights.
        save: passed to save_pretrained.
    """
    text = {"model_type": "bert", "max_position_embeddings": 24, **(text or {})}
    tokenizer = bert_tokenizer(24) if text["model_type"] == "bert" else _unigram(24, many_languages=True)
    config = VisionTextDualEncoderConfig(
        text_config={**SMALL, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **text},
        vision_config={**SMALL, "model_type": "vit", "hidden_size": 48, "image_size": 32, "patch_size": 8}
        | (vision or {}),
        projection_dim=24,
    )
    randomise(VisionTextDualEncoderModel(config), seed).save_pretrained(path, **save)
    tokenizer.save_pretrained(path)
    write_processor(path, "ViTImageProcessor")
    return path


def tiny_vit_bert(path: Path, *, seed: int = 0, context_length: int = 20, inner: int | None = 28, **save: Any) -> Path:
    """Save a small random model of the form of BiomedCLIP.

    Args:
        path: folder to make.
        seed: of the weights.
        context_length: text positions that count, of 24.
        inner: inner width of what projects texts; None for one matrix.
        save: passed to save_pretrained.
    """
    from acclimate.backbones.families.vit_bert import VitBertConfig, VitBertModel

    tokenizer = bert_tokenizer(context_length)
    config = VitBertConfig(
        text_config={**SMALL, "model_type": "bert", "vocab_size": len(tokenizer), "max_position_embeddings": 24},
        vision_config={**SMALL, "model_type": "vit", "hidden_size": 48, "image_size": 32, "patch_size": 8}
        | {"layer_norm_eps": 1e-6},
        projection_dim=24,
        text_projection_dim=inner,
        context_length=context_length,
    )
    randomise(VitBertModel(config), seed).save_pretrained(path, **save)
    tokenizer.save_pretrained(path)
    write_processor(path, "CLIPImageProcessor")
    return path


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}


def bert_tokenizer(context_length: int) -> BertTokenizerFast:
    """A tokenizer of word pieces: a few words and all letters, alone and inside a word."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *WORDS, *letters, *(f"##{one}" for one in letters)]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return BertTokenizerFast(vocab=vocabulary, model_max_length=context_length)


def write_processor(path: Path, kind: str) -> None:
    """Write a preprocessor_config.json for 32 pixels."""
    square = {"height": 32, "width": 32}
    own = (
        {"size": {"shortest_edge": 32}, "crop_size": square}
        if kind.startswith("CLIP")
        else {"size": square, "do_center_crop": False}
    )
    _rewrite(MINI_CLIP, path, "preprocessor_config.json", image_processor_type=kind, **own)


def randomise(model: nn.Module, seed: int = 0) -> Any:
    """Draw weights that all matter, in place; returns the model, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if name in {"logit_scale", "logit_bias"}:
                weight.copy_(torch.full_like(weight, 2.0 if name == "logit_scale" else -3.0))
            elif ("norm" in name.lower() or "bn." in name) and name.endswith("weight"):
                weight.copy_(1 + 0.1 * noise)
            elif weight.ndim < 2 or "embedding" in name or "probe" in name:
                weight.copy_((1.0 if "embedding" in name else 0.1) * noise)
            else:
                weight.copy_(noise * weight.shape[1:].numel() ** -0.5)
    return model.eval()


def _rewrite(source: Path, target: Path, name: str, **changes: Any) -> None:
    content = json.loads((source / name).read_text())
    (target / name).write_text(json.dumps(content | changes))


def _unigram(context_length: int, many_languages: bool = False) -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>"] if many_languages else ["<unk>", "</s>"]
    pieces = [*((word, 0.0) for word in special), ("▁", -6.0)]
    pieces += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    pieces += [(f"▁{word}", -2.0) for word in WORDS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=special.index("<unk>")))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    around = [("</s>", special.index("</s>")), *([("<s>", 0)] if many_languages else [])]
    form = "<s> $A </s>" if many_languages else "$A </s>"
    tokenizer.post_processor = processors.TemplateProcessing(single=form, special_tokens=around)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>" if many_languages else "</s>",
        unk_token="<unk>",
        model_max_length=context_length,
        model_input_names=["input_ids"],
    )

"""Folders that would load something else than their files say, or more than they hold: refused in one line."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from acclimate.backbones import load_backbone, load_domain_encoder
from acclimate.backbones.language import load_language_model
from acclimate.errors import BackboneError
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_domain_encoders import CASES


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    path = tmp_path_factory.mktemp("originals")
    tiny_clip(path / "clip")
    CASES["vit_mae"].save(path / "mae")
    return path


@pytest.fixture
def clip(originals, tmp_path):
    return shutil.copytree(originals / "clip", tmp_path / "clip")


@pytest.fixture
def mae(originals, tmp_path):
    return shutil.copytree(originals / "mae", tmp_path / "mae")


def edit(path, **changes):
    """Change entries of a JSON file; `a__b` is entry b of entry a."""
    content = json.loads(path.read_text())
    for key, value in changes.items():
        *parts, last = key.split("__")
        inner = content
        for part in parts:
            inner = inner[part]
        inner[last] = value
    path.write_text(json.dumps(content))


def refusal(load, folder):
    with pytest.raises(BackboneError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert len(message) < 600
    return message


def test_a_peft_adapter(clip, mae, tmp_path):
    """With the package peft, transformers would put it into the model; without, it would do nothing."""
    for load, folder in ((load_backbone, clip), (load_domain_encoder, mae)):
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        message = refusal(load, folder)
        assert "adapter_config.json: a PEFT adapter changes the weights on loading; merge it first" in message
        (folder / "adapter_config.json").unlink()
        assert load(folder)
    alone = tmp_path / "adapter"
    alone.mkdir()
    (alone / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "a/b"}')
    assert "a PEFT adapter" in refusal(load_backbone, alone)
    assert "a PEFT adapter" in refusal(load_language_model, str(alone))


CHANGING = [
    ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config changes what is loaded; use the"),
    ({"text_config__quantization_config": {"quant_method": "awq"}}, "text_config.quantization_config changes"),
    (
        {"transformers_weights": "other.safetensors"},
        "transformers_weights changes what is loaded; write the model again",
    ),
    ({"configuration_files": ["config.4.0.0.json"]}, "configuration_files changes what is loaded"),
    ({"attn_implementation": "someone/kernel"}, "attn_implementation='someone/kernel' is not supported"),
]


@pytest.mark.parametrize(("changes", "words"), CHANGING, ids=[next(iter(changes)) for changes, _ in CHANGING])
def test_a_configuration_that_changes_what_is_loaded(clip, changes, words):
    edit(clip / "config.json", **changes)
    assert words in refusal(load_backbone, clip)


def test_shards_of_distributed_training(clip):
    shutil.copy(clip / "model.safetensors", clip / "shard-00000-model-00001-of-00001.safetensors")
    assert "shards of distributed training" in refusal(load_backbone, clip)


def test_weights_of_eight_bits(clip):
    weights = load_file(clip / "model.safetensors")
    weights["visual_projection.weight"] = torch.ones_like(weights["visual_projection.weight"], dtype=torch.int8)
    save_file(weights, clip / "model.safetensors", metadata={"format": "pt"})
    assert "quantised (visual_projection.weight is stored as I8)" in refusal(load_backbone, clip)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_weights_that_are_no_numbers(clip, mae, value):
    for load, folder in ((load_backbone, clip), (load_domain_encoder, mae)):
        weights = load_file(folder / "model.safetensors")
        name = max(key for key in weights if "decoder" not in key and key.endswith("weight"))
        weights[name].view(-1)[3] = value
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        assert f"model.safetensors: the weight {name} has numbers that are NaN or infinite" in refusal(load, folder)


def test_numbers_that_half_precision_cannot_hold(clip):
    weights = load_file(clip / "model.safetensors")
    weights["visual_projection.weight"][0, 0] = 1e6
    save_file(weights, clip / "model.safetensors", metadata={"format": "pt"})
    assert load_backbone(clip)
    with pytest.raises(BackboneError, match=r"visual_projection\.weight does not fit into torch\.float16; load it as"):
        load_backbone(clip, dtype=torch.float16)


SIZES = [
    ({"text_config__num_hidden_layers": 10**9}, "text_config.num_hidden_layers=1000000000 is too large, and the files"),
    ({"num_labels": 10**9}, "num_labels=1000000000 is too large"),
    ({"vision_config__patch_size": 0}, "vision_config.patch_size=0 is no whole number from 1 on; use the files"),
    ({"text_config__hidden_size": -4}, "text_config.hidden_size=-4 is no whole number from 1 on"),
    ({"vision_config__num_attention_heads": "four"}, "vision_config.num_attention_heads='four' is no whole number"),
    ({"text_config__vocab_size": 10**12}, "text_config.vocab_size=1000000000000 is too large"),
    ({"vision_config__intermediate_size": 4 * 10**6}, "describes a model of "),  # 5 GB
    ({"vision_config__num_hidden_layers": 2}, "vision_config.num_hidden_layers=2, the files hold 3 layers"),
    ({"vision_config__image_size": 10**6}, "describes a model of "),
]


@pytest.mark.parametrize(("changes", "words"), SIZES, ids=[next(iter(changes)) for changes, _ in SIZES])
def test_a_configuration_of_another_size(clip, changes, words):
    """Said before any memory is asked for."""
    edit(clip / "config.json", **changes)
    assert words in refusal(load_backbone, clip)


@pytest.mark.parametrize(
    ("model_type", "words"),
    [([1], "model_type [1]"), ({}, "model_type {}"), (None, "model_type"), (3, "model_type")],
)
def test_a_family_of_a_wrong_type(clip, mae, model_type, words):
    for load, folder in ((load_backbone, clip), (load_domain_encoder, mae)):
        edit(folder / "config.json", model_type=model_type)
        assert words in refusal(load, folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_json_that_is_nested_too_deeply(clip, mae, name):
    for load, folder in ((load_backbone, clip), (load_domain_encoder, mae)):
        (folder / name).write_text('{"a": ' + "[" * 100_000)
        assert f"{name} is nested too deeply to be read" in refusal(load, folder)


@pytest.mark.parametrize(
    "shard", [3, None, ["a"], {}, "../clip/model.safetensors", "model.bin", "/etc/passwd"], ids=str
)
def test_an_index_of_wrong_entries(clip, shard):
    (clip / "model.safetensors").rename(clip / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"logit_scale": shard, "visual_projection.weight": "model-00001-of-00001.safetensors"}}
    (clip / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "the weight logit_scale is said to be in" in refusal(load_backbone, clip)


PREPROCESSING = [
    ({"image_mean": ["a", "b", "c"]}, "preprocessor_config.json cannot be followed"),
    ({"size": {"shortest_edge": "x"}}, "preprocessor_config.json cannot be followed"),
    ({"resample": [3]}, "resample=[3] is unknown"),
    ({"image_std": [float("nan")] * 3}, "makes pixels that are no numbers"),
    ({"rescale_factor": float("inf")}, "makes pixels that are no numbers"),
    ({"size": {"shortest_edge": 10**6}}, "scales images to 1000000x1000000 pixels, and 8192 a side are the most"),
    (
        {"size": {"shortest_edge": 64}, "crop_size": 64},
        "makes images of 64x64 pixels, config.json says that the model takes",
    ),
]


@pytest.mark.parametrize(("changes", "words"), PREPROCESSING, ids=[next(iter(changes)) for changes, _ in PREPROCESSING])
def test_preprocessing_that_cannot_be_followed(clip, changes, words):
    edit(clip / "preprocessor_config.json", **changes)
    assert words in refusal(load_backbone, clip)


def test_a_small_tokenizer_beside_a_large_table(clip):
    """A model of many tokens with the tokenizer of another: it would read texts as other words."""
    weights, name = load_file(clip / "model.safetensors"), "text_model.embeddings.token_embedding.weight"
    weights[name] = torch.randn(49408, weights[name].shape[1])
    save_file(weights, clip / "model.safetensors", metadata={"format": "pt"})
    edit(clip / "config.json", text_config__vocab_size=49408, text_config__eos_token_id=2)
    assert "the tokenizer has 6144 tokens, the model 49408; use the files of one model" in refusal(load_backbone, clip)


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_an_epsilon_that_is_no_number(clip, mae, value):
    edit(clip / "config.json", text_config__layer_norm_eps=value)
    assert "layer_norm_eps" in refusal(load_backbone, clip)
    edit(mae / "config.json", layer_norm_eps=value)
    assert "layer_norm_eps" in refusal(load_domain_encoder, mae)

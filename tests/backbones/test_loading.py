"""Loading: what every kind of broken folder is told, and that equal weights have one fingerprint."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPTokenizer, SiglipModel

from acclimate.backbones import load_backbone
from acclimate.backbones.kinds import DUAL, GENERATIVE, kind_of
from acclimate.errors import BackboneError
from tests.helpers.tensors import close
from tests.helpers.tiny_backbones import tiny_clip, tiny_siglip, tiny_vision_text


def edit(path, **changes):
    content = json.loads(path.read_text())
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            content[key].update(value)
        else:
            content[key] = value
    path.write_text(json.dumps(content))


def refusal(name):
    with pytest.raises(BackboneError) as caught:
        load_backbone(name)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_folder(tmp_path):
    assert "no backbone folder" in refusal(tmp_path / "absent")
    assert "did you mean 'mini-clip'" in refusal("miniclip")
    assert "'mini-clip'" in refusal("./nothing/here")


def test_file_in_place_of_a_folder(folder):
    assert "is a file; give the folder" in refusal(folder / "config.json")


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (["config.json"], "has no config.json"),
        (["model.safetensors"], "has no model.safetensors"),
        (["tokenizer.json", "vocab.json", "merges.txt"], "has no tokenizer"),
        (["preprocessor_config.json"], "has no preprocessor_config.json"),
    ],
)
def test_missing_file(folder, removed, message):
    for name in removed:
        (folder / name).unlink()
    assert message in refusal(folder)
    assert str(folder) in refusal(folder)


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_unreadable_config(folder, text):
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


def test_unknown_family(folder):
    edit(folder / "config.json", model_type="flava")
    assert "model_type 'flava' is not supported" in refusal(folder)
    assert "clip, siglip, metaclip_2" in refusal(folder)


@pytest.mark.parametrize(
    ("model_type", "sibling"),
    [
        ("siglip2", "a SigLIP 2 of one size, such as google/siglip2-base-patch16-224"),
        ("altclip", "a CLIP of many languages, such as facebook/metaclip-2-worldwide"),
        ("chinese_clip", "a CLIP of many languages, such as facebook/metaclip-2-worldwide"),
    ],
)
def test_dual_encoders_that_are_known_and_not_served(folder, model_type, sibling):
    edit(folder / "config.json", model_type=model_type)
    assert f"model_type '{model_type}' is not supported: " in refusal(folder)
    assert sibling in refusal(folder)


JOINED = [
    ({"text_config": {"model_type": "distilbert"}}, "text_config.model_type 'distilbert' is not supported as a tower"),
    ({"vision_config": {"model_type": "swin"}}, "vision_config.model_type 'swin' is not supported as a tower"),
    ({"text_config": 3}, "text_config.model_type 3 is not supported"),
    ({"text_config": {"is_decoder": True}}, "text_config.is_decoder=True cannot be followed"),
    ({"text_config": {"position_embedding_type": "relative_key"}}, "position_embedding_type='relative_key'"),
    ({"text_config": {"pad_token_id": 5}}, "pads texts with id 0, config.json says text_config.pad_token_id=5"),
    ({"text_config": {"num_hidden_layers": 2}}, "text_config.num_hidden_layers=2, the files hold 3 layers"),
    ({"vision_config": {"num_hidden_layers": 1}}, "vision_config.num_hidden_layers=1, the files hold 3 layers"),
]


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """Folder of a tiny BERT and ViT."""
    return tiny_vision_text(tmp_path_factory.mktemp("joined"))


@pytest.mark.parametrize(("changes", "words"), JOINED, ids=[words for _, words in JOINED])
def test_towers_that_were_joined_and_cannot_be_followed(joined, tmp_path, changes, words):
    folder = shutil.copytree(joined, tmp_path / "model")
    content = json.loads((folder / "config.json").read_text())
    for part, entries in changes.items():
        content[part] = {**content[part], **entries} if isinstance(entries, dict) else entries
    (folder / "config.json").write_text(json.dumps(content))
    assert words in refusal(folder)


def test_a_tokenizer_of_word_pieces_alone(joined, tmp_path):
    """As folders of older releases have it: vocab.txt and its settings."""
    folder = shutil.copytree(joined, tmp_path / "model")
    words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(words, key=words.get)))
    texts = ["a photo of a cat.", "bare land"]
    assert torch.equal(load_backbone(folder).tokenize(texts), load_backbone(joined).tokenize(texts))


def test_pickled_weights_are_not_opened(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refusal(folder)
    assert "pytorch_model.bin" in message
    assert "give it to `acclimate backbones convert`" in message


def test_truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors is damaged" in refusal(folder)
    path.write_bytes(b"")
    assert "model.safetensors is damaged" in refusal(folder)


def test_missing_weights_are_never_random(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["text_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    message = refusal(folder)
    assert "lacks 1 of the model's weights, first text_model.encoder.layers.1.mlp.fc1.weight" in message


def test_weights_of_another_size(folder):
    edit(folder / "config.json", projection_dim=25)
    assert "other shapes than config.json says for 2" in refusal(folder)


def test_text_tower_alone(folder):
    config = CLIPConfig.from_pretrained(folder)
    CLIPTextModelWithProjection(config.text_config).save_pretrained(folder)
    assert "clip_text_model" in refusal(folder)


def test_config_that_transformers_refuses(folder):
    edit(folder / "config.json", text_config={"hidden_act": "no such thing"})
    assert "transformers cannot load the model" in refusal(folder)


def test_damaged_tokenizer(folder):
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    (folder / "tokenizer.json").write_text("{")
    assert "tokenizer cannot be read" in refusal(folder)


def test_tokenizer_of_another_model(folder):
    config = json.loads((folder / "config.json").read_text())["text_config"]
    weights = load_file(folder / "model.safetensors")
    weights["text_model.embeddings.token_embedding.weight"] = torch.randn(100, config["hidden_size"])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", text_config={"vocab_size": 100})
    assert "the tokenizer has 6144 tokens, the model 100" in refusal(folder)


def test_end_of_text_that_the_config_does_not_know(folder):
    edit(folder / "config.json", text_config={"eos_token_id": 7})
    assert "set it to 6143" in refusal(folder)


def test_siglip_without_pooling_head(tmp_path):
    path = tiny_siglip(tmp_path)
    edit(path / "config.json", vision_config={"vision_use_head": False})
    assert "no pooling head" in refusal(path)


def test_shards(original, tmp_path):
    whole = load_backbone(original)
    sharded = tiny_clip(tmp_path / "sharded", max_shard_size="300KB")
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert len(shards) > 1
    loaded = load_backbone(sharded)
    assert loaded.fingerprint == whole.fingerprint
    close(loaded.encode_text(["a cat"]), whole.encode_text(["a cat"]))
    shards[0].unlink()
    assert f"{shards[0].name} is missing" in refusal(sharded)
    edit(sharded / "model.safetensors.index.json", weight_map=None)
    assert "lists no weights" in refusal(sharded)


def test_fingerprint(original, tmp_path):
    whole = load_backbone(original)
    half = shutil.copytree(original, tmp_path / "half")
    CLIPModel.from_pretrained(original).half().save_pretrained(half)
    single = shutil.copytree(original, tmp_path / "single")
    CLIPModel.from_pretrained(half, dtype=torch.float32).save_pretrained(single)
    assert load_backbone(half).fingerprint == load_backbone(single).fingerprint != whole.fingerprint
    assert load_backbone(original, dtype=torch.bfloat16).fingerprint == whole.fingerprint
    assert len(whole.fingerprint) == 32
    assert load_backbone(tiny_clip(tmp_path / "other", seed=1)).fingerprint != whole.fingerprint


def test_fingerprint_ignores_position_ids(folder, original):
    weights = load_file(folder / "model.safetensors")
    weights["text_model.embeddings.position_ids"] = torch.arange(24)[None]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_backbone(folder).fingerprint == load_backbone(original).fingerprint


def test_half_precision(original):
    whole, half = load_backbone(original), load_backbone(original, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    context = torch.randn(2, 32, requires_grad=True)
    names = half.class_tokens(["cat", "bare land"])
    ours = half.encode_context(context, names, prompts=[torch.randn(2, 32)])
    assert ours.dtype == torch.bfloat16
    ours.float().sum().backward()
    assert context.grad.isfinite().all()
    likeness = torch.nn.functional.cosine_similarity(
        half.encode_text(["a cat"]).float(), whole.encode_text(["a cat"]), dim=-1
    )
    assert likeness.min() > 0.99


def test_processor_saved_by_new_transformers(folder):
    image = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": image}))
    assert load_backbone(folder).transform.output_size == (32, 32)


def test_tokenizer_without_tokenizer_json(folder, original):
    (folder / "tokenizer.json").unlink()
    texts = ["a photo of a cat.", "bare land"]
    assert torch.equal(load_backbone(folder).tokenize(texts), load_backbone(original).tokenize(texts))


def test_siglip_tokenizer_class_needs_no_sentencepiece(tmp_path):
    plain = tiny_siglip(tmp_path / "plain")
    named = shutil.copytree(plain, tmp_path / "named")
    edit(named / "tokenizer_config.json", tokenizer_class="SiglipTokenizer")
    texts = ["a photo of a cat.", "bare land"]
    assert torch.equal(load_backbone(named).tokenize(texts), load_backbone(plain).tokenize(texts))


def test_loading_is_silent_and_leaves_logging_as_it_was(original, capfd):
    from transformers.utils import logging as hf_logging

    before = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    load_backbone(original)
    assert (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()) == before
    output = capfd.readouterr()
    assert output.out + output.err == ""


def test_plain_save_pretrained_folders(tmp_path):
    """What a user's own script writes, with transformers' default image processor."""
    source = tiny_clip(tmp_path / "source")
    target = tmp_path / "target"
    CLIPModel.from_pretrained(source).save_pretrained(target)
    CLIPTokenizer.from_pretrained(source).save_pretrained(target)
    shutil.copy(source / "preprocessor_config.json", target)
    close(load_backbone(target).encode_text(["a cat"]), load_backbone(source).encode_text(["a cat"]))


def test_repr_and_description(original, caplog):
    caplog.set_level(logging.INFO)
    backbone = load_backbone(str(original))
    assert str(original) in repr(backbone)
    assert json.loads(json.dumps(backbone.describe()))["text_heads"] == 4
    siglip = SiglipModel.config_class()
    assert siglip.model_type == "siglip"


def test_the_kind_of_a_backbone(original):
    """It is read from config.json, before anything is loaded."""
    assert [kind_of(name) for name in ("mini-clip", "mini-vlm", str(original))] == [DUAL, GENERATIVE, DUAL]
    with pytest.raises(BackboneError, match="no backbone folder"):
        kind_of("mini-clop")

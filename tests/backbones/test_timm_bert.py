"""Checkpoints of open_clip with a ViT of timm and a BERT, each made from towers of transformers (a round trip)."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

from acclimate.backbones import convert_backbone, load_backbone
from acclimate.errors import BackboneError
from tests.helpers.open_clip_layout import CONFIG, open_clip_names, tiny_model
from tests.helpers.tensors import close, noise
from tests.helpers.timm_bert_layout import joined, timm_bert_config, timm_bert_names, write_timm_bert
from tests.helpers.tiny_backbones import bert_tokenizer

TEXTS = ["a photo of a cat.", "bare land", "a large storage tank of the mill, a river and a dog"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model():
    return joined()


def refusal(source, *arguments):
    with pytest.raises(BackboneError) as caught:
        convert_backbone(source, source.parent / "never", *arguments) if arguments else load_backbone(source)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize("mlp", [True, False])
def test_features_equal_those_of_the_towers_in_transformers(tmp_path, mlp):
    """Texts at their own lengths and padded to the whole context, images, and logits."""
    plain = joined(mlp, seed=3)
    folder = write_timm_bert(tmp_path / "hub", plain, text_cfg__hf_proj_type="mlp" if mlp else "linear")
    backbone = load_backbone(folder)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = bert_tokenizer(20)(TEXTS, padding="max_length", max_length=20, truncation=True, return_tensors="pt")
    images, texts = plain.images(pixels), plain.texts(tokens)
    close(backbone.encode_image(pixels), images)
    close(backbone.encode_text(TEXTS), texts)
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    close(torch.tensor(backbone.scaled(1.0)), torch.tensor(plain.scale).exp(), 1e-4)
    own = F.normalize(backbone.encode_image(pixels), dim=-1) @ F.normalize(backbone.encode_text(TEXTS), dim=-1).T
    close(own, cosines)
    assert backbone.family == "vit-bert-clip"
    assert (backbone.context_length, backbone.image_size, backbone.embed_dim) == (20, 32, 24)
    assert (backbone.text_heads, backbone.vision_heads) == (4, 3)
    transform = backbone.transform
    assert (transform.resize, transform.crop, transform.resample) == (32, (32, 32), "bicubic")


def test_the_folder_that_is_written(model, tmp_path):
    """A converted folder loads by itself, and its towers are those of transformers under their own names."""
    folder = convert_backbone(write_timm_bert(tmp_path / "hub", model), tmp_path / "out")
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "vocab.txt"} <= {
        path.name for path in folder.iterdir()
    }
    one, other = load_backbone(folder), load_backbone(tmp_path / "hub")
    assert (one.identity, one.transform) == (other.identity, other.transform)
    close(one.encode_text(TEXTS), other.encode_text(TEXTS), 0)
    for tower, own in (("text_model", model.text), ("vision_model", model.vision)):
        found, wanted = getattr(one.model, tower).state_dict(), own.state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_twice_the_same_bits(model, tmp_path):
    backbone = load_backbone(write_timm_bert(tmp_path / "hub", model))
    names = backbone.class_tokens(["cat", "bare land", "storage tanks"])
    context = noise(3, backbone.text_width)
    one, two = (backbone.encode_context(context, names) for _ in range(2))
    assert torch.equal(one, two)
    (first,), (second,) = (torch.autograd.grad(features.sum(), context) for features in (one, two))
    assert torch.equal(first, second)


ENTRIES = [
    ({"vision_cfg__timm_model_name": "eva02_base_patch16_224"}, "timm_model_name='eva02_base_patch16_224'"),
    ({"vision_cfg__timm_model_name": "vit_base_patch16_clip_quickgelu_224"}, "only a plain ViT"),
    ({"vision_cfg__timm_model_name": "vit_base_patch16_224"}, "and the weights are 192 wide"),
    ({"vision_cfg__timm_pool": "avg"}, "vision_cfg.timm_pool='avg'"),
    ({"vision_cfg__timm_proj": "mlp"}, "vision_cfg.timm_proj='mlp'"),
    ({"text_cfg__hf_pooler_type": "mean_pooler"}, "only cls_last_hidden_state_pooler"),
    ({"text_cfg__heads": None}, "attention heads a BERT of width 64 has is not known"),
    ({"text_cfg__heads": 5}, "not known (5)"),
    ({"text_cfg__context_length": 64}, "text_cfg.context_length=64, and the weights have 32 positions"),
    ({"text_cfg__a_new_thing": 3}, "text_cfg.a_new_thing=3"),
    ({"text_cfg__hf_model_name": ""}, "vision_cfg.timm_model_name="),
    ({"embed_dim": 32}, "model_cfg.embed_dim=32, and the weights say 24"),
    ({"vision_cfg__image_size": 64}, "vision_cfg.image_size=64"),
]


@pytest.mark.parametrize(("changes", "words"), ENTRIES, ids=[words for _, words in ENTRIES])
def test_configurations_that_cannot_be_followed(model, tmp_path, changes, words):
    folder = write_timm_bert(tmp_path / "in", model, **changes)
    message = refusal(folder)
    assert words in message
    assert str(folder / CONFIG) in message


def test_what_a_configuration_leaves_out_is_open_clips_default(model, tmp_path):
    """Which is to pool by means, and not what BiomedCLIP does."""
    config = timm_bert_config(model)
    for block, entry in (("vision_cfg", "timm_pool"), ("text_cfg", "hf_pooler_type")):
        folder = write_timm_bert(tmp_path / entry, model)
        kept = dict(config["model_cfg"][block])
        del kept[entry]
        (folder / CONFIG).write_text(json.dumps({"model_cfg": {**config["model_cfg"], block: kept}}))
        assert f"{block}.{entry}=" in refusal(folder)


def test_heads_of_published_sizes(tmp_path):
    from acclimate.backbones.open_clip.mapping import Sizes
    from acclimate.backbones.open_clip.timm_bert import facts_of

    for width, heads in ((768, 12), (1024, 16)):
        text = {"hf_model_name": "x"}
        vision = {"timm_model_name": "vit_base_patch16_224.augreg_in21k", "image_size": 224}
        blocks = {"model_cfg": {}, "vision_cfg": vision, "text_cfg": text, "preprocess_cfg": {}}
        sizes = Sizes(512, 16, 14, 768, 12, 3072, width, 12, 4 * width, 30522, 256)
        facts = facts_of(tmp_path / CONFIG, blocks, sizes)
        assert facts.heads == (12, heads)
        assert facts.epsilons == (1e-6, 1e-12)
        assert facts.tokenizer == "x"


def test_weights_of_other_models(model, tmp_path):
    folder = write_timm_bert(tmp_path / "in", model)
    file, names = folder / "open_clip_pytorch_model.bin", timm_bert_names(model)
    torch.save(names | {"visual.trunk.blocks.0.ls1.gamma": torch.ones(192)}, file)
    assert "a ViT of timm and a BERT takes the weight visual.trunk.blocks.0.ls1" in refusal(folder)
    types = "text.transformer.embeddings.token_type_embeddings.weight"
    torch.save(names | {types: names[types][:1]}, file)
    assert "the text tower has 1 types of tokens" in refusal(folder)
    torch.save({name: value for name, value in names.items() if name != "visual.head.proj.weight"}, file)
    assert "no visual.head.proj.weight" in refusal(folder)
    torch.save(open_clip_names(tiny_model(tmp_path / "clip")), file)
    assert "names towers of timm and BERT, and the weights are those of a CLIP" in refusal(folder)


def test_what_a_file_alone_does_not_say(model, tmp_path):
    folder = write_timm_bert(tmp_path / "in", model)
    file = folder / "open_clip_pytorch_model.bin"
    assert "leave `activation` out" in refusal(file, "gelu")
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()
    assert "names the tokenizer 'org/some-bert'" in refusal(folder)
    (folder / CONFIG).unlink()
    assert f"put the {CONFIG} of the model beside it" in refusal(file)

"""Weights are not all of an encoder: what its configuration and tokenizer say decides its features as well."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from acclimate.backbones import load_backbone, load_domain_encoder
from acclimate.training.encoding import text_features
from tests.helpers.tensors import close
from tests.helpers.tiny_backbones import tiny_clip, tiny_siglip
from tests.helpers.tiny_domain_encoders import CASES


def edit(path, part, **changes):
    """Change entries of config.json, in a part of it or at its top; None removes one."""
    content = json.loads(path.read_text())
    inner = content[part] if part else content
    inner |= changes
    for key in [key for key, value in changes.items() if value is None]:
        del inner[key]
    path.write_text(json.dumps(content))


def features(backbone):
    """Features of a text and an image."""
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return torch.cat([backbone.encode_text(["a cat", "the large river"]), backbone.encode_image(pixels)])


@pytest.mark.parametrize("part", ["text", "vision"])
@pytest.mark.parametrize(
    ("name", "value"), [("hidden_act", "relu"), ("num_attention_heads", 2), ("layer_norm_eps", 0.1)], ids=str
)
def test_the_same_weights_with_another_function(folder, original, part, name, value):
    edit(folder / "config.json", f"{part}_config", **{name: value})
    one, other = load_backbone(original), load_backbone(folder)
    assert one.fingerprint == other.fingerprint
    assert one.identity != other.identity
    assert other.architecture.settings[part][name] == value
    assert (features(one) - features(other)).abs().max() > 1e-3
    assert other.architecture.differences(one.architecture.settings) == [
        f"{part} {name} {value}, was {one.architecture.settings[part][name]}"
    ]


def test_how_a_configuration_is_written_does_not_matter(folder, original):
    one = load_backbone(original)
    for part, name in [
        (f"{part}_config", name) for part in ("text", "vision") for name in ("hidden_act", "layer_norm_eps")
    ]:
        edit(folder / "config.json", part, **{name: None})  # which is the default then
    edit(
        folder / "config.json",
        "",
        transformers_version="4.1",
        _name_or_path="a/b",
        dtype="float16",
        architectures=["X"],
    )
    edit(
        folder / "config.json",
        "text_config",
        attention_dropout=0.1,
        initializer_range=1.0,
        pad_token_id=3,
        bos_token_id=6142,
    )
    other = load_backbone(folder)
    assert other.architecture == one.architecture
    assert other.identity == one.identity
    close(features(one), features(other))
    half = load_backbone(original, dtype=torch.float16)
    assert half.identity == one.identity


def test_the_identity_of_the_embedded_backbone_is_that_of_its_weights():
    """Runs and jobs from when only weights counted are still recognised."""
    mini = load_backbone("mini-clip")
    assert mini.architecture.unusual == {}
    assert mini.identity == mini.fingerprint
    assert mini.tokenizer.fingerprint == "b180dc0c2a85d2073b496cab5522444b"
    own = load_domain_encoder("self", mini)
    assert own.identity == own.fingerprint


def test_the_old_id_of_the_end_of_texts_means_the_last_token(tmp_path, original):
    old = load_backbone(tiny_clip(tmp_path / "old", legacy_eos=True))
    assert old.architecture == load_backbone(original).architecture
    assert old.architecture.settings["text"]["eos_token_id"] == 6143


def test_siglip(tmp_path):
    one = load_backbone(tiny_siglip(tmp_path / "one"))
    other = load_backbone(tiny_siglip(tmp_path / "other", vision={"hidden_act": "gelu"}))
    assert one.fingerprint == other.fingerprint
    assert one.identity != other.identity


def swap(path, one, other):
    """Exchange two tokens in the files of a tokenizer: as many tokens as before, others meant."""
    content = json.loads((path / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (path / "tokenizer.json").write_text(json.dumps(content))
    (path / "vocab.json").write_text(json.dumps(vocabulary))


def test_another_tokenizer_of_the_same_size(folder, original, tmp_path):
    swap(folder, "cat</w>", "dog</w>")
    one, other = load_backbone(original), load_backbone(folder)
    assert len(one.tokenizer.tokenizer) == len(other.tokenizer.tokenizer)
    assert one.fingerprint == other.fingerprint
    assert one.tokenizer.fingerprint != other.tokenizer.fingerprint
    assert one.identity != other.identity
    for backbone in (one, other):  # a shared cache keeps them apart
        found = text_features(backbone, ["a cat", "a dog"], tmp_path / "cache")
        close(found, backbone.encode_text(["a cat", "a dog"]))
    close(text_features(one, ["a cat"], tmp_path / "cache"), text_features(other, ["a dog"], tmp_path / "cache"))


def test_where_a_tokenizer_is_stored_does_not_matter(folder, original):
    (folder / "tokenizer.json").unlink()  # vocab.json and merges.txt say the same
    assert load_backbone(folder).tokenizer.fingerprint == load_backbone(original).tokenizer.fingerprint


# Of every family whose configuration decides more than the weights, one setting that the weights do not tell.
CHANGES = [
    ("vit", {"hidden_act": "relu"}),
    ("vit", {"num_attention_heads": 3}),
    ("vit_mae", {"layer_norm_eps": 0.1}),
    ("dinov2", {"hidden_act": "relu"}),
    ("dinov3_vit", {"rope_theta": 10.0}),
    ("swinv2", {"pretrained_window_sizes": [3, 3]}),
    ("convnext", {"hidden_act": "relu"}),
    ("beit", {"layer_norm_eps": 0.1}),
]


@pytest.mark.parametrize(("kind", "changes"), CHANGES, ids=str)
def test_domain_encoders(tmp_path, kind, changes):
    CASES[kind].save(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    edit(tmp_path / "other" / "config.json", "", **changes)
    one, other = (load_domain_encoder(tmp_path / name) for name in ("one", "other"))
    assert one.fingerprint == other.fingerprint
    assert one.identity != other.identity
    pixels = torch.randn(2, 3, *one.image_size, generator=torch.Generator().manual_seed(0))
    assert (one.encode_image(pixels) - other.encode_image(pixels)).abs().max() > 1e-4
    assert len(other.architecture.differences(one.architecture.settings)) == 1

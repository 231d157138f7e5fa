"""Domain encoders: every family against its own forward pass, and what every kind of broken input is told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

from acclimate.backbones import domain_encoder, load_backbone, load_domain_encoder
from acclimate.backbones.vision_families import VISION_FAMILIES
from acclimate.backbones.vision_network import VisionNetwork
from acclimate.data.transforms import ImageTransform
from acclimate.errors import BackboneError
from tests.helpers.tensors import close
from tests.helpers.tiny_backbones import randomise, tiny_clip
from tests.helpers.tiny_domain_encoders import CASES


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folder and model of a case, saved once."""
    saved = {}

    def get(name):
        if name not in saved:
            path = tmp_path_factory.mktemp("encoders") / "model"
            saved[name] = path, CASES[name].save(path)
        return saved[name]

    return get


@pytest.fixture
def mae(folders, tmp_path):
    return shutil.copytree(folders("vit_mae")[0], tmp_path / "mae")


def pixels(count=3, seed=0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def picture(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(folder, change):
    """Change the dictionary of a folder's weights."""
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})


def refusal(name, **options):
    with pytest.raises(BackboneError) as caught:
        load_domain_encoder(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_family_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(VISION_FAMILIES)


@pytest.mark.parametrize("name", CASES)
def test_features_are_those_of_the_plain_forward_pass(name, folders):
    folder, model = folders(name)
    case, encoder = CASES[name], load_domain_encoder(folder)
    with torch.no_grad():
        expected = case.feature(model, pixels())
    features = encoder.encode_image(pixels())
    assert features.shape == (3, case.width)
    assert expected.abs().max() > 0.05
    assert (expected - expected[:1])[1:].abs().max() > 0.01  # the feature depends on the image
    close(features, expected)
    close(torch.cat([encoder.encode_image(one[None]) for one in pixels()]), features)  # and on no other image
    assert torch.equal(encoder.encode_image(pixels()), features)
    assert not features.requires_grad
    assert encoder.encode_image(pixels(0)).shape == (0, case.width)


@pytest.mark.parametrize("name", CASES)
def test_facts(name, folders):
    folder, _ = folders(name)
    case, encoder = CASES[name], load_domain_encoder(str(folder))
    assert (encoder.name, encoder.family) == (str(folder), name.split(",")[0])
    assert (encoder.width, encoder.pooling, encoder.image_size) == (case.width, case.pooling, (32, 32))
    assert (encoder.device, encoder.dtype) == (torch.device("cpu"), torch.float32)
    facts = json.loads(json.dumps(encoder.describe()))
    assert facts["fingerprint"] == encoder.fingerprint
    assert str(folder) in repr(encoder)
    assert encoder.to("cpu") is encoder


@pytest.mark.parametrize("name", CASES)
def test_images_are_prepared_as_the_checkpoint_says(name, folders):
    folder, _ = folders(name)
    encoder = load_domain_encoder(folder)
    for size in [(57, 41), (33, 90)]:
        expected = CASES[name].processor(picture(*size), return_tensors="pt")["pixel_values"][0]
        close(encoder.transform.normalise(encoder.transform(picture(*size))), expected)


@pytest.mark.parametrize("name", [name for name in VISION_FAMILIES if not name.startswith("dinov3")])
def test_files_that_do_not_name_their_processor(name):
    """transformers takes the processor that belongs to the family, and so do we."""
    own = type(CASES[name].processor)
    named = IMAGE_PROCESSOR_MAPPING_NAMES.get(name.removesuffix("_vision_model"), {"pil": own.__name__})
    assert named["pil"] == own.__name__
    nameless = ImageTransform.from_processor_config({"image_mean": [0.1, 0.2, 0.3]}, VISION_FAMILIES[name].processor)
    assert nameless == ImageTransform.from_processor_config(own(image_mean=[0.1, 0.2, 0.3]).to_dict())


def test_the_published_form_of_a_masked_autoencoder(mae):
    file = {"do_normalize": True, "do_resize": True, "image_mean": [0.485, 0.456, 0.406], "resample": 2, "size": 32}
    (mae / "preprocessor_config.json").write_text(json.dumps(file))
    transform = load_domain_encoder(mae).transform
    assert (transform.resize, transform.crop, transform.resample) == ((32, 32), None, "bilinear")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.alone])
def test_the_encoder_alone_and_inside_a_larger_model_are_one(name, tmp_path):
    """Whole and in shards, alone and in half precision: equal weights, one fingerprint, equal features."""
    case = CASES[name]
    model = randomise(case.make()).half().float()
    model.save_pretrained(tmp_path / "whole", max_shard_size="20KB")
    case.alone(model).half().save_pretrained(tmp_path / "alone")
    for folder in ("whole", "alone"):
        case.processor.save_pretrained(tmp_path / folder)
    assert len(list((tmp_path / "whole").glob("*.safetensors"))) > 1
    whole, alone = load_domain_encoder(tmp_path / "whole"), load_domain_encoder(tmp_path / "alone")
    assert alone.dtype == torch.float32
    assert alone.fingerprint == whole.fingerprint
    close(alone.encode_image(pixels()), whole.encode_image(pixels()))
    case.save(tmp_path / "other", seed=1)
    assert load_domain_encoder(tmp_path / "other").fingerprint != whole.fingerprint


@pytest.mark.parametrize(
    ("dual", "vision"),
    [("clip", hf.CLIPVisionModel), ("siglip", hf.SiglipVisionModel), ("sam", hf.SamVisionModel)],
)
def test_vision_towers_of_their_own(dual, vision, folders, tmp_path):
    folder, _ = folders(dual)
    tower = vision.from_pretrained(folder)
    tower.save_pretrained(tmp_path)
    CASES[dual].processor.save_pretrained(tmp_path)
    whole, alone = load_domain_encoder(folder), load_domain_encoder(tmp_path)
    assert (whole.family, alone.family) == (dual, tower.config.model_type)
    assert whole.fingerprint == alone.fingerprint
    close(whole.encode_image(pixels()), alone.encode_image(pixels()))


def test_a_masked_autoencoder_hides_nothing(folders):
    folder, model = folders("vit_mae")
    hidden = [model.vit(pixels()).last_hidden_state.shape[1] for _ in range(2)]
    assert hidden == [1 + 4, 1 + 4]  # transformers keeps a quarter of the 16 patches
    encoder = load_domain_encoder(folder, dtype=torch.bfloat16)
    likeness = torch.cosine_similarity(
        encoder.encode_image(pixels()).float(), load_domain_encoder(folder).encode_image(pixels())
    )
    assert likeness.min() > 0.99
    with pytest.raises(BackboneError, match=r"\(B, 3, 32, 32\)"):
        encoder.encode_image(torch.zeros(1, 3, 24, 24))


def test_other_types_of_weights(folders):
    folder, _ = folders("vit_mae")
    whole, half = load_domain_encoder(folder), load_domain_encoder(folder, dtype=torch.bfloat16)
    assert half.dtype == half.encode_image(pixels()).dtype == torch.bfloat16
    assert half.fingerprint == whole.fingerprint


def test_large_batches_run_in_parts(folders, monkeypatch):
    encoder = load_domain_encoder(folders("sam")[0])
    expected = encoder.encode_image(pixels(5))
    monkeypatch.setattr(domain_encoder, "PIXELS", 2 * 32 * 32)
    close(encoder.encode_image(pixels(5)), expected)


def test_gradients_are_off_but_features_can_be_learned_from(folders):
    encoder = load_domain_encoder(folders("vit")[0])
    layer = torch.nn.Linear(24, 2)
    images = pixels().requires_grad_()
    layer(encoder.encode_image(images)).sum().backward()
    assert layer.weight.grad is not None
    assert images.grad is None


def test_weights_that_the_feature_does_not_use_may_be_missing(folders, mae):
    whole = load_domain_encoder(folders("vit_mae")[0])
    rewrite(mae, lambda weights: {key: value for key, value in weights.items() if not key.startswith("decoder")})
    assert load_domain_encoder(mae).fingerprint == whole.fingerprint


def test_a_mask_token_may_be_missing(folders, tmp_path):
    folder, _ = folders("dinov2")
    bare = shutil.copytree(folder, tmp_path / "bare")
    rewrite(bare, lambda weights: {key: value for key, value in weights.items() if "mask_token" not in key})
    whole, without = load_domain_encoder(folder), load_domain_encoder(bare)
    assert whole.fingerprint == without.fingerprint
    close(without.encode_image(pixels()), whole.encode_image(pixels()))


def test_dinov2_takes_other_sizes_than_it_was_trained_at(folders, tmp_path):
    folder = shutil.copytree(folders("dinov2")[0], tmp_path / "large")
    edit(folder / "preprocessor_config.json", size={"shortest_edge": 48}, crop_size={"height": 48, "width": 40})
    encoder = load_domain_encoder(folder)
    assert encoder.image_size == (48, 40)
    assert encoder.encode_image(torch.randn(2, 3, 48, 40)).shape == (2, 24)


def test_self(tmp_path):
    backbone = load_backbone(tiny_clip(tmp_path / "clip"))
    own = load_domain_encoder("self", backbone)
    assert (own.name, own.family, own.width, own.pooling) == ("self", "clip", backbone.embed_dim, "projected")
    assert own.transform == backbone.transform
    assert torch.equal(own.encode_image(pixels()), backbone.encode_image(pixels()))
    assert own._holder is backbone
    assert own.fingerprint not in {backbone.fingerprint, load_domain_encoder(tmp_path / "clip").fingerprint}
    assert (
        own.fingerprint != load_domain_encoder("self", load_backbone(tiny_clip(tmp_path / "two", seed=1))).fingerprint
    )
    assert json.loads(json.dumps(own.describe()))["image_size"] == [32, 32]
    assert own.to("cpu") is own
    assert "give a backbone with it" in refusal("self")


def test_the_embedded_backbone_has_an_image_tower_too():
    encoder = load_domain_encoder("mini-clip")
    assert encoder.encode_image(torch.zeros(1, 3, 96, 96)).shape == (1, encoder.width)


def test_loading_is_silent(folders, capfd):
    load_domain_encoder(folders("clip")[0])
    output = capfd.readouterr()
    assert output.out + output.err == ""


# ---------------------------------------------------------------------------------------------------------- bad input


def test_no_such_folder(tmp_path):
    message = refusal(tmp_path / "absent")
    assert message.startswith("no domain encoder folder")
    assert "or 'self'" in message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_missing_files(mae, name):
    (mae / name).unlink()
    assert refusal(mae).startswith(f"{mae} has no {name}")


@pytest.mark.parametrize("kind", ["mobilenet_v2", "clip_text_model", None])
def test_other_families(mae, kind):
    edit(mae / "config.json", model_type=kind)
    message = refusal(mae)
    assert f"model_type {kind!r} cannot be a domain encoder" in message
    assert "vit, vit_mae, deit" in message


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "vit_large_patch16_224", "num_classes": 0, "pretrained_cfg": {"tag": "uni"}},
        {"architecture": "resnet50", "model_type": "timm_wrapper"},
    ],
)
def test_models_of_timm_are_refused_by_name(mae, config):
    (mae / "config.json").write_text(json.dumps(config))
    message = refusal(mae)
    assert f"this is a model of timm ({config['architecture']!r})" in message
    assert "owkin/phikon" in message


def test_damaged_weights(mae):
    path = mae / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors is damaged" in refusal(mae)


def test_pickled_weights_are_not_opened(mae):
    (mae / "model.safetensors").rename(mae / "pytorch_model.bin")
    assert "pickled weights only (pytorch_model.bin)" in refusal(mae)


def test_missing_weights_are_never_random(mae):
    rewrite(mae, lambda weights: {key: value for key, value in weights.items() if "layer.1." not in key})
    message = refusal(mae)
    assert "of the model's weights, first" in message
    assert message.endswith("use a complete checkpoint of a model with a ViTMAEModel")


def test_weights_of_another_size(mae):
    edit(mae / "config.json", intermediate_size=40)
    assert "other shapes than config.json says for" in refusal(mae)


def test_the_decoder_alone(mae):
    rewrite(mae, lambda weights: {key: value for key, value in weights.items() if key.startswith("decoder")})
    assert "lacks" in refusal(mae)


def test_preprocessing_of_another_model(mae):
    edit(mae / "preprocessor_config.json", size={"height": 48, "width": 32})
    message = refusal(mae)
    assert "makes images of 48x32 pixels, config.json says that the model takes 32x32" in message


@pytest.mark.parametrize(
    ("family", "changes"),
    [("dinov2", {"crop_size": 1}), ("convnext", {"size": {"shortest_edge": 3}})],
)
def test_preprocessing_that_leaves_less_than_the_encoder_needs(folders, tmp_path, family, changes):
    folder = shutil.copytree(folders(family)[0], tmp_path / "small")
    edit(folder / "preprocessor_config.json", **changes)
    message = refusal(folder)
    assert message.startswith(f"{folder}: preprocessor_config.json makes images of ")
    assert message.endswith("; use the preprocessor_config.json of this model")
    assert "\n" not in message


def test_preprocessing_that_cannot_be_followed(mae):
    edit(mae / "preprocessor_config.json", size={"shortest_edge": 32})
    assert refusal(mae).startswith(f"{mae}: resize=32 without a crop")
    edit(mae / "preprocessor_config.json", size={"longest_edge": 32})
    assert refusal(mae).startswith(f"{mae}: preprocessor_config.json: size=")


def test_siglip_without_pooling_head(folders, tmp_path):
    folder = shutil.copytree(folders("siglip_vision_model")[0], tmp_path / "headless")
    edit(folder / "config.json", vision_use_head=False)
    assert "no pooling head" in refusal(folder)


@pytest.mark.parametrize("name", CASES)
def test_tokens_of_the_patches(folders, name):
    """They are the last tokens of the model, as many as there are patches, in their order."""
    encoder = load_domain_encoder(folders(name)[0])
    if not VISION_FAMILIES[encoder.family].patches:
        assert set(encoder.widths) == {"domain_features"}
        return
    images = torch.randn(2, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
    found = encoder.encode(images, {"domain_features", "domain_tokens"})
    tokens = found["domain_tokens"].unflatten(1, (encoder.patches, encoder.width))
    assert torch.equal(found["domain_features"], encoder.encode_image(images))
    if encoder.pooling == "patch-mean":
        close(tokens.mean(1), found["domain_features"])
    embedding = next(module for module in encoder._holder.modules() if isinstance(module, torch.nn.Conv2d))
    height, width = (whole // side for whole, side in zip(encoder.image_size, embedding.stride, strict=True))
    assert encoder.patches == height * width
    assert encoder.encode(images[:0], {"domain_tokens"})["domain_tokens"].shape == (0, encoder.patches * encoder.width)


@pytest.mark.parametrize("name", ["resnet", "efficientnet"])
def test_statistics_of_batch_norms_decide_the_fingerprint_and_stay(name, folders):
    """They are no parameters, and decide the features as these do."""
    folder, _ = folders(name)
    encoder = load_domain_encoder(folder)
    other = load_domain_encoder(folder)
    next(value for key, value in other._holder.named_buffers() if key.endswith("running_mean")).add_(1.0)
    assert encoder.fingerprint != other.fingerprint
    assert (encoder.encode_image(pixels()) - other.encode_image(pixels())).abs().max() > 1e-3
    network = VisionNetwork(encoder).train()
    network(pixels()).sum().backward()
    assert network.frozen("again").fingerprint == encoder.fingerprint

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, ViTMAEForPreTraining
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from acclimate.backbones import load_domain_encoder
from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.errors import ConfigError, RunError
from tests.helpers.pictures import picture


@pytest.fixture
def model():
    made = MaskedAutoencoder("tiny", 32, 8, seed=3)
    made.transform = dataclasses.replace(made.transform, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    return made.eval()


@pytest.fixture
def pixels(model):
    return model.transform.normalise(torch.stack([model.transform(picture(number, 0)) for number in range(4)]))


def patches_of(pixels, patch=8):
    """(B, 3, H, W) to (B, N, P², 3), row by row."""
    batch, _, height, width = pixels.shape
    tiles = pixels.view(batch, 3, height // patch, patch, width // patch, patch).permute(0, 2, 4, 3, 5, 1)
    return tiles.reshape(batch, -1, patch * patch, 3)


def test_every_place_has_its_own_position(model):
    """transformers leaves all of them at zero, with which the model cannot learn."""
    for positions in (model.model.vit.embeddings.position_embeddings, model.model.decoder.decoder_pos_embed):
        rows = positions[0]
        assert not rows[0].any()
        distance = torch.cdist(rows, rows) + torch.eye(len(rows))
        assert distance.min() > 0.1
        assert not positions.requires_grad


def test_positions_are_those_of_the_published_checkpoints(model):
    width, grid = 192, 4
    got = model.model.vit.embeddings.position_embeddings[0, 1:].view(grid, grid, width)
    rates = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
    for row, column in [(0, 3), (2, 1)]:
        wanted = [wave(place * rates) for place in (column, row) for wave in (np.sin, np.cos)]
        np.testing.assert_allclose(got[row, column], np.concatenate(wanted), atol=1e-6)


def test_weights_depend_on_the_seed_alone(model):
    torch.manual_seed(99)
    again, other = MaskedAutoencoder("tiny", 32, 8, seed=3), MaskedAutoencoder("tiny", 32, 8, seed=4)
    state = model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    assert any(not torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())


def test_the_loss_is_that_of_hidden_patches_normalised_one_by_one(model, pixels):
    hidden, drawn, loss = model.reconstruct(pixels, seed=7)
    true, guess = patches_of(pixels).flatten(2), patches_of(drawn).flatten(2)
    mean, std = true.mean(-1, keepdim=True), (true.var(-1, keepdim=True) + 1e-6).sqrt()
    errors = (((guess - mean) / std - (true - mean) / std) ** 2).mean(-1)
    mask = patches_of(hidden.unsqueeze(1).expand(-1, 3, -1, -1)).flatten(2).all(-1)
    assert mask.sum() == 4 * 12
    assert loss == pytest.approx(float(errors[mask].mean()), rel=1e-4)


def test_visible_patches_stay_and_hidden_ones_keep_their_mean(model, pixels):
    hidden, drawn, _ = model.reconstruct(pixels, seed=7)
    seen = ~hidden.unsqueeze(1).expand_as(pixels)
    assert torch.equal(drawn[seen], pixels[seen])
    assert not torch.allclose(drawn[~seen], pixels[~seen])
    again, same, _ = model.reconstruct(pixels, seed=7)
    other, _, _ = model.reconstruct(pixels, seed=8)
    assert torch.equal(again, hidden)
    assert torch.equal(same, drawn)
    assert not torch.equal(other, hidden)


def test_the_loss_hides_other_patches_each_time(model, pixels):
    torch.manual_seed(0)
    losses = [model.loss(pixels) for _ in range(2)]
    torch.manual_seed(0)
    assert torch.equal(model.loss(pixels), losses[0])
    assert not torch.equal(losses[0], losses[1])
    losses[0].backward()
    assert model.model.vit.embeddings.patch_embeddings.projection.weight.grad.abs().sum() > 0


def test_plain_transformers_loads_what_is_saved(model, pixels, tmp_path):
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert AutoConfig.from_pretrained(tmp_path).norm_pix_loss
    plain = ViTMAEForPreTraining.from_pretrained(tmp_path).eval()
    noise = torch.rand(4, 16)
    with torch.no_grad():
        assert torch.equal(plain(pixels, noise=noise).logits, model.model(pixels, noise=noise).logits)
        encoder = AutoModel.from_pretrained(tmp_path, mask_ratio=0.0).eval()
        tokens = encoder(pixels, noise=torch.arange(16.0).expand(4, 16)).last_hidden_state
    loaded = load_domain_encoder(tmp_path)
    assert loaded.family == "vit_mae"
    torch.testing.assert_close(loaded.encode_image(pixels), tokens[:, 1:].mean(1))
    assert loaded.transform == model.transform


def test_the_processor_of_transformers_gives_the_same_pixels(model, tmp_path):
    model.save(tmp_path)
    config = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert config.pop("image_processor_type") == "ViTImageProcessor"
    image = picture(1, 2, size=(70, 50))
    wanted = ViTImageProcessorPil(**config)(image, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(model.transform.normalise(model.transform(image)), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("huge",), "tiny, small, base"),
        (("tiny", 100, 12), "use `image_size=96` or 108, or another `patch_size`"),
        (("tiny", 8, 12), "use `image_size=12`, or another `patch_size`"),
        (("tiny", 16, 16), "0 of 1 patches"),
        (("tiny", 32, 8, 0.0), "16 of 16 patches"),
        (("tiny", 32, 8, 0.99), "0 of 16 patches"),
    ],
)
def test_bad_shapes(options, words):
    with pytest.raises(ConfigError, match=words):
        MaskedAutoencoder(*options)


def test_a_folder_that_cannot_be_written(model, tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*choose another `out`"):
        model.save(tmp_path)
    assert not list(tmp_path.glob(".*"))

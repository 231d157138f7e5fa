"""A feature has the same bits whatever is computed beside it, and on however many threads."""

from __future__ import annotations

import pytest
import torch

from acclimate.backbones import load_backbone, load_domain_encoder
from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.data.augment import Augmentation
from acclimate.training.encoding import augmented_features, image_features, text_features
from acclimate.training.steady import steady
from tests.helpers.tiny_domain_encoders import CASES
from tests.helpers.tiny_mae import SMALL

TEXTS = ["a cat", "a dog", "bare land", "a photo of a storage tank", "river", "a large mill of the river", "a photo"]
CPU = torch.device("cpu")


@pytest.fixture
def threads():
    """Sets the number of threads, and puts it back in the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def check_rows(run, count, threads):
    """`run` maps rows to their features; they are those of all rows together, bit for bit."""
    threads(1)
    together = run(list(range(count)))
    draw = torch.Generator().manual_seed(0)
    for number in (1, 2, 3):
        threads(number)
        for some in (count, count // 2, 3, 1):
            rows = torch.randperm(count, generator=draw)[:some].tolist()
            assert torch.equal(run(rows), together[rows]), (number, some)
        assert torch.get_num_threads() == number


def check_encoder(encoder, kind, threads):
    height, width = encoder.transform.output_size
    pixels = torch.randn(11, 3, height, width, generator=torch.Generator().manual_seed(1))

    def run(rows):
        return steady(lambda piece: encoder.encode(piece, {kind})[kind], pixels[rows], CPU)

    check_rows(run, len(pixels), threads)
    torch.testing.assert_close(run(range(11)), encoder.encode(pixels, {kind})[kind], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["image_features", "pooled_features"])
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_images(family, kind, tiny_backbones, threads):
    check_encoder(tiny_backbones[family], kind, threads)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image_features", "pooled_features"])
def test_images_of_the_embedded_backbone(kind, threads):
    check_encoder(load_backbone("mini-clip"), kind, threads)


@pytest.mark.parametrize(
    "case", [case if case == "vit_mae" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_domain_encoders(case, tmp_path, threads):
    CASES[case].save(tmp_path / "encoder")
    check_encoder(load_domain_encoder(tmp_path / "encoder"), "domain_features", threads)


def test_a_masked_autoencoder_that_is_read_on_several_threads(threads):
    model = MaskedAutoencoder("tiny", SMALL["image_size"], SMALL["patch_size"]).train()
    check_encoder(model, "domain_features", threads)
    assert model.model.training
    assert model.model.vit.config.mask_ratio == 0.75


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_texts(family, tiny_backbones, threads):
    backbone = tiny_backbones[family]
    check_rows(lambda rows: text_features(backbone, [TEXTS[row] for row in rows]), len(TEXTS), threads)
    torch.testing.assert_close(text_features(backbone, TEXTS), backbone.encode_text(TEXTS), atol=1e-5, rtol=1e-5)


def test_views(pictures, tiny, threads):
    augmentation = Augmentation(min_scale=0.2, flip=True)

    def run(rows):
        views = augmented_features(tiny, pictures.train.select(rows), augmentation, 2, seed=1)
        return views.transpose(0, 1)

    check_rows(run, len(pictures.train), threads)


def test_autocast_does_not_reach_what_is_kept(pictures, tiny, threads):
    for number in (1, 2):
        threads(number)
        plain = image_features(tiny, pictures.test)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(image_features(tiny, pictures.test), plain)


def test_a_failure_leaves_the_threads_as_they_were(threads):
    def broken(piece):
        raise RuntimeError("broken")

    threads(2)
    with pytest.raises(RuntimeError, match="broken"):
        steady(broken, torch.zeros(9, 2), CPU)
    assert torch.get_num_threads() == 2

"""Features at two scales: of an image and of its tiles, cut from the image as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from acclimate.data.tiles import cut
from acclimate.training.encoding import image_features, tiled_features
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given, Inputs, find_kind, tiled
from acclimate.training.progress import Silent, Timed
from tests.helpers.tensors import close


class Counting(Silent):
    """A progress that counts what is computed."""

    def __init__(self):
        self.count = 0

    def advance(self, amount):
        self.count += amount


def numbered(width, height):
    """An image each pixel of which has a number of its own."""
    numbers = np.arange(width * height).reshape(height, width)
    return Image.fromarray(np.stack([numbers // 256, numbers % 256, 0 * numbers], axis=-1).astype(np.uint8))


def numbers_of(image):
    pixels = np.asarray(image).astype(int)
    return (256 * pixels[..., 0] + pixels[..., 1]).tolist()


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (31, 50), (4, 4)])
@pytest.mark.parametrize("grid", [2, 3, 4])
def test_tiles_show_every_pixel_once(size, grid):
    image = numbered(*size)
    whole, *tiles = cut(image, grid)
    assert numbers_of(whole) == numbers_of(image)
    rows = [tiles[grid * row : grid * row + grid] for row in range(grid)]
    lines = [[numbers_of(tile)[line] for tile in row] for row in rows for line in range(row[0].height)]
    glued = [[number for piece in line for number in piece] for line in lines]
    assert glued == numbers_of(image)


def test_an_image_with_fewer_pixels_than_tiles_has_tiles_all_the_same():
    tiles = cut(numbered(1, 3), 4)[1:]
    assert [tile.size for tile in tiles] == 16 * [(1, 1)]
    assert [numbers_of(tile)[0][0] for tile in tiles[::4]] == [0, 0, 1, 2]


def by_hand(encoder, image, kind, grid):
    """Features of an image and its tiles, one crop at a time, by plain arithmetic on the edges."""
    boxes = [(0, 0, *image.size)]
    for row in range(grid):
        for column in range(grid):
            left, top = image.width * column // grid, image.height * row // grid
            right, bottom = image.width * (column + 1) // grid, image.height * (row + 1) // grid
            boxes.append((left, top, right, bottom))
    pixels = [encoder.transform.normalise(encoder.transform(image.crop(box)))[None] for box in boxes]
    return torch.cat([encoder.encode(one, {kind})[kind] for one in pixels])


@pytest.mark.parametrize(
    ("family", "kind", "grid"),
    [
        ("clip", "image_features", 2),
        ("clip", "pooled_features", 3),
        ("siglip", "pooled_features", 2),
        ("domain", "domain_features", 2),
    ],
)
def test_features_are_those_of_each_crop_alone(pictures, tiny_backbones, domain_encoder, tmp_path, family, kind, grid):
    encoder = domain_encoder if family == "domain" else tiny_backbones[family]
    given = Given(tiny_backbones["clip"] if family == "domain" else encoder, domain_encoder, cache_dir=tmp_path)
    data, name = pictures.test, tiled(kind, grid)
    feed = evaluation_feed({name}, data, given)
    found = getattr(feed.batch(torch.tensor([4, 1])), name)
    assert found.shape == (2, 1 + grid**2, encoder.widths[kind])
    for row, expected in zip((4, 1), found, strict=True):
        close(by_hand(encoder, data.image(row), kind, grid), expected)
    views = [find_kind(name).view(data.image(row), given) for row in (4, 1)]
    asked = getattr(find_kind(name).batch(views, given), name)
    close(asked, found)  # prediction knows files and images in memory
    assert (found[:, 0] - found[:, 1]).abs().max() > 0.1


def test_a_tile_shows_what_the_whole_image_cannot(tiny, tmp_path):
    """A fine pattern that scaling the whole image to the tower's own resolution wipes out."""
    from acclimate.data import load_data

    stripes = np.arange(64) % 2 < 1  # as fine as the tower can see, once it is a tile of 32 pixels
    pictures = {"flat": np.full((64, 64), 127.5), "striped": np.where(stripes[None], 255, 0) * np.ones((64, 1))}
    for name, grey in pictures.items():
        (tmp_path / name).mkdir()
        for shift in (0, 1):
            pixels = np.repeat(np.roll(grey, shift, axis=1)[..., None], 3, axis=-1)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{shift}.png")
    data = load_data(tmp_path, layout="class")
    features = tiled_features(tiny, data, 2, kind="pooled_features")
    apart = (features[data.labels == 0].mean(0) - features[data.labels == 1].mean(0)).norm(dim=-1)
    assert apart[1:].min() > 5 * apart[0]


def test_the_cache_knows_the_whole_image_and_every_tile(pictures, tiny, tmp_path):
    data, count = pictures.test, len(pictures.test)
    counting = Counting()
    plain = image_features(tiny, data, tmp_path, counting)
    assert counting.count == count
    for grid, more in ((2, 4), (2, 0), (3, 9)):
        before = counting.count
        found = tiled_features(tiny, data, grid, tmp_path, counting)
        assert counting.count - before == more * count
        assert torch.equal(found[:, 0], plain)
        assert torch.equal(found, tiled_features(tiny, data, grid))  # bit for bit what is computed anew
    assert tiled_features(tiny, data.select([]), 2, tmp_path).shape == (0, 5, tiny.embed_dim)


def test_tiles_cost_what_features_cost(pictures, tiny):
    seconds = {}
    tiled_features(tiny, pictures.test, 2, progress=Timed(Silent(), seconds))
    assert seconds["image features"] > 0


def test_inputs_know_whose_features_are_tiled():
    reads = Inputs({"pooled_features_2x2", "domain_features_3x3"})
    assert reads.domain_encoder
    assert not Inputs({"pooled_features_2x2"}).domain_encoder
    assert str(reads) == "domain features 3x3, pooled features 2x2"


def test_tiles_of_a_domain_encoder_that_is_not_there(pictures, tiny):
    with pytest.raises(ValueError, match="domain_features_2x2 are wanted, and no domain encoder is given"):
        evaluation_feed({"domain_features_2x2"}, pictures.test, Given(tiny))

from __future__ import annotations

import pytest
import torch
from PIL import Image

from acclimate.data import load_data
from acclimate.data.augment import Augmentation
from acclimate.training.encoding import augmented_features, image_features
from acclimate.training.feeding import EncodedFeed, evaluation_feed, training_feed
from acclimate.training.feeds import FeatureFeed, PixelFeed, chunks, label_tensors
from acclimate.training.inputs import Given
from acclimate.training.progress import Silent
from acclimate.training.recipe import Recipe
from tests.helpers.pictures import picture

SIZES = [(36, 32), (90, 40), (31, 77), (400, 300)]  # smaller than the input, wide, tall, and larger than a canvas
AUGMENTATION = Augmentation(min_scale=0.2, flip=True)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Pictures of very different sizes in two acquisition domains."""
    folder = tmp_path_factory.mktemp("mixed")
    for domain in ("day", "night"):
        for number, name in enumerate(("cat", "dog")):
            (folder / domain / name).mkdir(parents=True)
            for index, size in enumerate(SIZES):
                picture(number, index, size=size).save(folder / domain / name / f"{index}.png")
    return load_data(folder, layout="domain/class")


class Counter(Silent):
    def __init__(self):
        self.images = 0

    def advance(self, amount=1, **figures):
        self.images += amount


def views(feed, index, epoch):
    batch = feed.batch(torch.tensor(index), epoch)
    return batch.pixels if "pixels" in batch else batch.image_features


def test_pixels_are_those_of_the_evaluation_transform(mixed, tiny):
    feed = PixelFeed(mixed, tiny, AUGMENTATION)
    batch = feed.batch(torch.tensor([3, 0]))
    expected = torch.stack([tiny.transform(mixed.image(3)), tiny.transform(mixed.image(0))])
    assert torch.equal(batch.pixels, tiny.transform.normalise(expected))
    assert batch.labels.tolist() == [mixed.labels[3], mixed.labels[0]]
    assert batch.index.tolist() == [3, 0]
    assert batch.domains.tolist() == [mixed.domain_names.index(mixed.domains[row]) for row in (3, 0)]


def test_a_view_depends_on_seed_epoch_and_image_alone(mixed, tiny):
    everything = list(range(len(mixed)))
    whole = views(PixelFeed(mixed, tiny, AUGMENTATION, seed=1), everything, 2)
    other = PixelFeed(mixed, tiny, AUGMENTATION, seed=1)
    for index in ([5], [2, 9, 4], everything[::-1]):
        torch.testing.assert_close(views(other, index, 2), whole[index], atol=1e-5, rtol=0)
    subset = PixelFeed(mixed.select([7, 3]), tiny, AUGMENTATION, seed=1)
    torch.testing.assert_close(views(subset, [0, 1], 2), whole[[7, 3]], atol=1e-5, rtol=0)
    for seed, epoch in ((1, 3), (2, 2)):
        drawn = views(PixelFeed(mixed, tiny, AUGMENTATION, seed=seed), everything, epoch)
        assert all((one - two).abs().max() > 0.1 for one, two in zip(drawn, whole, strict=True))


def test_views_have_the_size_of_the_input_whatever_the_picture(mixed, tiny):
    assert views(PixelFeed(mixed, tiny, AUGMENTATION), range(len(mixed)), 0).shape == (len(mixed), 3, 32, 32)


def test_pictures_beyond_the_memory_for_canvases_give_the_same_views(mixed, tiny, monkeypatch):
    kept = PixelFeed(mixed, tiny, AUGMENTATION)
    first = views(kept, range(len(mixed)), 0)
    monkeypatch.setattr("acclimate.training.feeds.CANVAS_BUDGET", 20_000)
    anew = PixelFeed(mixed, tiny, AUGMENTATION)
    for _ in range(2):
        assert torch.equal(views(anew, range(len(mixed)), 0), first)
    assert 0 < len(anew._canvases) < len(kept._canvases) == len(mixed)


def test_encoded_feed_is_the_tower_on_the_pixels(mixed, tiny):
    pixels = PixelFeed(mixed, tiny, AUGMENTATION, seed=4)
    feed = EncodedFeed(pixels, tiny)
    index = torch.tensor([1, 6, 2])
    batch = feed.batch(index, 3)
    torch.testing.assert_close(batch.image_features, tiny.encode_image(pixels.batch(index, 3).pixels))
    assert batch.labels.tolist() == mixed.labels[index].tolist()
    assert not batch.image_features.requires_grad
    assert len(feed) == len(mixed)


def test_cached_views_are_those_of_the_pixels(mixed, tiny, tmp_path):
    stack = augmented_features(tiny, mixed, AUGMENTATION, 3, seed=1, cache_dir=tmp_path)
    pixels = PixelFeed(mixed, tiny, AUGMENTATION, seed=1)
    assert stack.shape == (3, len(mixed), tiny.embed_dim)
    for view in range(3):
        expected = tiny.encode_image(views(pixels, range(len(mixed)), view))
        torch.testing.assert_close(stack[view], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cached", [True, False])
def test_the_second_call_reads_the_cache(mixed, tiny, tmp_path, cached):
    place = tmp_path if cached else None
    counts = []
    for _ in range(2):
        counter = Counter()
        first = image_features(tiny, mixed, place, counter)
        second = augmented_features(tiny, mixed, AUGMENTATION, 2, 1, place, counter)
        counts.append(counter.images)
    distinct = len({mixed.digest(row) for row in range(len(mixed))})
    assert counts == ([3 * distinct, 0] if cached else [3 * len(mixed)] * 2)
    torch.testing.assert_close(first, image_features(tiny, mixed))
    again = augmented_features(tiny, mixed, AUGMENTATION, 2, 1, place)
    torch.testing.assert_close(second, again)


def test_other_views_are_never_taken_from_the_cache(mixed, tiny, tmp_path):
    def drawn(augmentation=AUGMENTATION, seed=1):
        return augmented_features(tiny, mixed, augmentation, 1, seed, tmp_path)

    first = drawn()
    assert not torch.allclose(drawn(seed=2), first)
    assert not torch.allclose(drawn(Augmentation(min_scale=0.2)), first)
    assert not torch.allclose(image_features(tiny, mixed, tmp_path), first[0])


def test_two_backbones_share_a_cache(mixed, tiny_backbones, tmp_path):
    for backbone in tiny_backbones.values():
        found = image_features(backbone, mixed, tmp_path)
        torch.testing.assert_close(found, image_features(backbone, mixed))


def test_feature_feed_serves_views_in_turn():
    plain, drawn = torch.zeros(4, 2), torch.arange(24.0).view(3, 4, 2)
    feed = FeatureFeed(plain, torch.arange(4), None, drawn)
    index = torch.tensor([2, 0])
    assert torch.equal(feed.batch(index).image_features, plain[index])
    for epoch in range(7):
        assert torch.equal(feed.batch(index, epoch).image_features, drawn[epoch % 3][index])
    assert "domains" not in feed.batch(index)


def test_chunks_serve_everything_once():
    feed = FeatureFeed(torch.zeros(10, 2), torch.arange(10))
    found = [batch.labels.tolist() for batch in chunks(feed, 4)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_no_images_give_no_features(mixed, tiny, tmp_path):
    nothing = mixed.select([])
    assert image_features(tiny, nothing, tmp_path).shape == (0, tiny.embed_dim)
    assert image_features(tiny, nothing).shape == (0, tiny.embed_dim)


def test_pictures_without_a_domain(pictures):
    labels, domains = label_tensors(pictures)
    assert domains is None
    assert labels.dtype == torch.int64


def test_grey_and_transparent_pictures_feed_like_others(tmp_path, tiny):
    for name, mode in (("a", "L"), ("b", "RGBA")):
        (tmp_path / name).mkdir()
        for index in range(2):
            Image.new(mode, (20, 50)).save(tmp_path / name / f"{index}.png")
    feed = PixelFeed(load_data(tmp_path), tiny, AUGMENTATION)
    assert views(feed, range(4), 0).isfinite().all()


def test_joined_feeds_serve_one_image(mixed, tiny):
    feed = evaluation_feed({"pixels", "image_features", "pooled_features"}, mixed, Given(tiny))
    assert len(feed) == len(mixed)
    batch = feed.batch(torch.tensor([4, 1]))
    torch.testing.assert_close(batch.image_features, tiny.encode_image(batch.pixels))
    torch.testing.assert_close(batch.pooled_features, tiny.encode_image(batch.pixels, project=False))
    torch.testing.assert_close(batch.pooled_features @ tiny.vision_projection.T, batch.image_features)
    assert batch.labels.tolist() == mixed.labels[[4, 1]].tolist()


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("names", [{"pixels", "image_features"}, {"image_features", "pooled_features"}, {"pixels"}])
def test_features_of_random_views_belong_to_those_views(mixed, tiny, names, views):
    settings = Recipe(augment="crop", views=views)
    feed = training_feed(names, mixed, Given(tiny), settings, AUGMENTATION, seed=1)
    index = torch.tensor([2, 5])
    first, second = feed.batch(index, 0), feed.batch(index, 1)
    pixels = PixelFeed(mixed, tiny, AUGMENTATION, seed=1).batch(index, 1).pixels
    for name in names:
        assert not torch.equal(getattr(first, name), getattr(second, name))
    if "image_features" in names:
        torch.testing.assert_close(second.image_features, tiny.encode_image(pixels))
    if "pooled_features" in names:
        torch.testing.assert_close(second.pooled_features, tiny.encode_image(pixels, project=False))
    if "pixels" in names:
        torch.testing.assert_close(second.pixels, pixels)
    assert ("pixels" in second) == ("pixels" in names)


def test_features_before_the_projection_have_a_cache_of_their_own(mixed, tiny, tmp_path):
    counter = Counter()
    for _ in range(2):
        plain = image_features(tiny, mixed, tmp_path, counter)
        pooled = image_features(tiny, mixed, tmp_path, counter, kind="pooled_features")
    assert counter.images == 2 * len({mixed.digest(row) for row in range(len(mixed))})
    torch.testing.assert_close(pooled @ tiny.vision_projection.T, plain)

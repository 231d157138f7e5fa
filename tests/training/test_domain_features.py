"""Features of a domain encoder: of the same views that the backbone sees, encoded once and read again."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from acclimate.backbones import load_domain_encoder
from acclimate.data import load_data
from acclimate.data.augment import Augmentation
from acclimate.training.encoding import encoders_of
from acclimate.training.feeding import evaluation_feed, training_feed
from acclimate.training.feeds import FreshFeed, PixelFeed, chunks
from acclimate.training.inputs import Given
from acclimate.training.progress import Silent, Timed
from acclimate.training.recipe import Recipe

AUGMENTATION = Augmentation(min_scale=0.2, flip=True)
FRESH = Recipe(augment="crop+flip", views=0)


@pytest.fixture(scope="module")
def ramps(tmp_path_factory):
    """Pictures whose red tells the column and whose green tells the row; their blue makes each a picture of its own."""
    folder = tmp_path_factory.mktemp("ramps")
    for number, (width, height) in enumerate([(300, 200), (150, 260), (80, 80), (64, 200)]):
        columns = np.broadcast_to((np.arange(width) + 0.5) / width, (height, width))
        rows = np.broadcast_to(((np.arange(height) + 0.5) / height)[:, None], (height, width))
        picture = np.stack([columns, rows, np.full((height, width), number / 4)], axis=-1)
        path = folder / ("wide" if number % 2 else "tall") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((255 * picture).round().astype(np.uint8)).save(path)
    return load_data(folder, layout="class")


class Counted:
    """A domain encoder that counts what it encodes."""

    def __init__(self, encoder):
        self.encoder, self.images = copy.copy(encoder), 0
        read = encoder._read

        def counted(pixels):
            self.images += len(pixels.flatten(1).unique(dim=0))  # a piece is filled up with copies
            return read(pixels)

        self.encoder._read = counted


def box(pixels, transform):
    """Where a view of a ramp lies, as fractions of its picture: left, right, top, bottom; right < left if mirrored."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (transform.mean, transform.std))
    picture = (pixels * std + mean).double()
    edges = []
    for line in (picture[0].mean(0), picture[1].mean(1)):
        inner = torch.arange(len(line)) / (len(line) - 1) - 0.5
        keep = inner.abs() < 0.3  # at the border of a picture, the filter is cut off
        design = torch.stack([torch.ones(int(keep.sum())), inner[keep]], dim=1).double()
        middle, slope = torch.linalg.lstsq(design, line[keep][:, None]).solution.flatten().tolist()
        slope *= len(line) / (len(line) - 1)
        edges += [middle - slope / 2, middle + slope / 2]
    return edges


def features(feed, epoch=None):
    return feed.batch(torch.arange(len(feed)), epoch).domain_features


@pytest.mark.parametrize("augmentation", [AUGMENTATION, Augmentation(min_scale=0.2)], ids=["flips", "no flips"])
def test_the_domain_encoder_gets_the_crop_and_the_flip_of_the_backbone(ramps, tiny, domain_encoder, augmentation):
    one, two = (PixelFeed(ramps, encoder, augmentation, seed=3) for encoder in (tiny, domain_encoder))
    boxes = []
    for epoch in range(5):
        small, large = (feed.batch(torch.arange(len(ramps)), epoch).pixels for feed in (one, two))
        assert (small.shape[-1], large.shape[-1]) == (32, 48)
        for left, right in zip(small, large, strict=True):
            boxes.append(box(left, tiny.transform))
            assert box(right, domain_encoder.transform) == pytest.approx(boxes[-1], abs=0.01)
    mirrored = [right < left for left, right, _, _ in boxes]
    assert any(mirrored) == augmentation.flip
    assert not all(mirrored)
    assert len({tuple(np.round(edges, 2)) for edges in boxes}) == len(boxes)  # every view is another one


def test_without_crops_each_sees_what_its_own_transform_shows(ramps, tiny, domain_encoder):
    """The backbone cuts the centre out, the domain encoder stretches the whole; mirrored are the same ones."""
    augmentation = Augmentation(crop=False, flip=True)
    shown = []
    for encoder in (tiny, domain_encoder):
        feed = PixelFeed(ramps, encoder, augmentation, seed=1)
        views = torch.cat([feed.batch(torch.arange(len(ramps)), epoch).pixels for epoch in range(4)])
        shown.append([box(view, encoder.transform) for view in views])
    for centre, whole in zip(*shown, strict=True):
        assert (centre[0] > centre[1]) == (whole[0] > whole[1])
        assert sorted(whole[:2]) == pytest.approx([0, 1], abs=0.02)
    assert {left > right for left, right, _, _ in shown[0]} == {True, False}
    assert min(abs(left - right) for left, right, _, _ in shown[0]) < 0.8


@pytest.mark.parametrize("names", [{"pixels", "domain_features"}, {"domain_features"}])
def test_fresh_views_are_those_encoded_one_by_one(ramps, tiny, domain_encoder, tmp_path, names):
    given = Given(tiny, domain_encoder, cache_dir=tmp_path)
    feed = training_feed(names, ramps, given, FRESH, AUGMENTATION, 3)
    pixels = PixelFeed(ramps, domain_encoder, AUGMENTATION, seed=3)
    for epoch in (0, 1, 0, 7):
        found = [feed.batch(torch.tensor([row]), epoch).domain_features for row in range(len(ramps))]
        expected = [
            domain_encoder.encode_image(pixels.batch(torch.tensor([row]), epoch).pixels) for row in range(len(ramps))
        ]
        torch.testing.assert_close(torch.cat(found), torch.cat(expected), atol=1e-4, rtol=1e-4)
    batch = feed.batch(torch.tensor([2, 0]), 1)
    assert batch.labels.tolist() == ramps.labels[[2, 0]].tolist()
    if "pixels" in names:
        seen = PixelFeed(ramps, tiny, AUGMENTATION, seed=3).batch(torch.tensor([2, 0]), 1).pixels
        torch.testing.assert_close(batch.pixels, seen)
    plain = evaluation_feed({"domain_features"}, ramps, Given(tiny, domain_encoder))
    torch.testing.assert_close(features(feed), features(plain))  # the evaluation view, where no epoch is named


@pytest.mark.parametrize("cached", [True, False])
def test_an_epoch_is_encoded_once_and_found_again_by_the_next_run(ramps, tiny, domain_encoder, tmp_path, cached):
    place = tmp_path if cached else None
    counts = []
    for _ in range(2):
        counted = Counted(domain_encoder)
        given = Given(tiny, counted.encoder, cache_dir=place)
        feed = training_feed({"pixels", "domain_features"}, ramps, given, FRESH, AUGMENTATION, 3)
        for epoch in range(3):
            for index in torch.arange(len(ramps)).split(3):
                feed.batch(index, epoch)
            counts.append(counted.images)
    once = [4, 8, 12]
    assert counts == once + ([0, 0, 0] if cached else once)


def test_other_shots_find_the_views_of_their_images(ramps, tiny, domain_encoder, tmp_path):
    counts = []
    for rows in ([1, 3], [0, 1, 2, 3]):
        counted = Counted(domain_encoder)
        some = ramps.select(rows)
        given = Given(tiny, counted.encoder, cache_dir=tmp_path)
        feed = training_feed({"domain_features"}, some, given, FRESH, AUGMENTATION, 3)
        found = features(feed, 1)
        counts.append(counted.images)
    assert counts == [2, 2]
    anew = training_feed({"domain_features"}, ramps, Given(tiny, domain_encoder), FRESH, AUGMENTATION, 3)
    torch.testing.assert_close(found, features(anew, 1), atol=1e-4, rtol=1e-4)


def test_other_views_and_other_encoders_are_never_taken_from_the_cache(ramps, tiny, domain_encoder, tmp_path):
    def drawn(epoch=0, augmentation=AUGMENTATION, seed=3, encoder=domain_encoder):
        given = Given(tiny, encoder, cache_dir=tmp_path)
        feed = training_feed({"domain_features"}, ramps, given, FRESH, augmentation, seed)
        return features(feed, epoch)

    first, own = drawn(), load_domain_encoder("self", tiny)
    for other in (drawn(1), drawn(seed=4), drawn(augmentation=Augmentation(min_scale=0.5)), drawn(None)):
        assert not torch.allclose(other, first, atol=1e-3)
    assert drawn(encoder=own).shape == (len(ramps), own.width)
    assert torch.equal(drawn(), first)


def test_cached_views_are_served_in_turn(ramps, tiny, domain_encoder):
    settings = Recipe(augment="crop+flip", views=2)
    feed = training_feed({"domain_features"}, ramps, Given(tiny, domain_encoder), settings, AUGMENTATION, 3)
    pixels = PixelFeed(ramps, domain_encoder, AUGMENTATION, seed=3)
    for epoch in range(5):
        expected = domain_encoder.encode_image(pixels.batch(torch.arange(len(ramps)), epoch % 2).pixels)
        torch.testing.assert_close(features(feed, epoch), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("names", [{"pixels", "image_features"}, {"pixels"}, {"image_features"}])
def test_self_gives_the_features_of_the_backbones_own_view(ramps, tiny, tmp_path, names, views):
    own, settings = load_domain_encoder("self", tiny), Recipe(augment="crop+flip", views=views)
    given = Given(tiny, own, cache_dir=tmp_path)
    feed = training_feed(names | {"domain_features"}, ramps, given, settings, AUGMENTATION, 3)
    for epoch in (None, 0, 1, 2):
        batch = feed.batch(torch.tensor([3, 1]), epoch)
        seen = batch.image_features if "pixels" not in names else tiny.encode_image(batch.pixels)
        torch.testing.assert_close(batch.domain_features, seen, atol=1e-4, rtol=1e-4)


def test_evaluation_views_are_encoded_once_through_the_encoders_own_transform(ramps, tiny, domain_encoder, tmp_path):
    counted = Counted(domain_encoder)
    names = {"pixels", "image_features", "domain_features"}
    for _ in range(2):
        feed = evaluation_feed(names, ramps, Given(tiny, counted.encoder, cache_dir=tmp_path))
        batches = list(chunks(feed, 3))
    assert counted.images == len(ramps)
    pixels = torch.stack([domain_encoder.transform(ramps.image(row)) for row in range(len(ramps))])
    expected = domain_encoder.encode_image(domain_encoder.transform.normalise(pixels))
    found = torch.cat([batch.domain_features for batch in batches])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert batches[0].pixels.shape[-1] == 32
    assert all(batch.image_features.shape[1:] == (tiny.embed_dim,) for batch in batches)


def test_a_fresh_feed_keeps_one_epoch():
    asked = []

    def compute(epoch):
        asked.append(epoch)
        return torch.full((4, 2), -1.0 if epoch is None else float(epoch))

    feed = FreshFeed(compute, torch.arange(4), torch.zeros(4), "domain_features")
    for epoch in (0, 0, 1, 1, None, None, 1):
        batch = feed.batch(torch.tensor([3, 1]), epoch)
        assert batch.domain_features.unique().item() == (-1 if epoch is None else epoch)
        assert batch.labels.tolist() == [3, 1]
        assert batch.domains.tolist() == [0, 0]
    assert asked == [0, 1, None, 1]
    assert len(feed) == 4


def test_domain_features_without_a_domain_encoder(ramps, tiny):
    with pytest.raises(ValueError, match="no domain encoder"):
        evaluation_feed({"domain_features"}, ramps, Given(tiny))
    assert encoders_of({"image_features"}, tiny, None) == [(tiny, {"image_features"})]


def test_the_time_of_both_encoders_is_booked_apart(ramps, tiny, domain_encoder):
    seconds = {}
    given = Given(tiny, domain_encoder, progress=Timed(Silent(), seconds))
    evaluation_feed({"image_features", "domain_features"}, ramps, given)
    assert set(seconds) == {"image features", "domain features"}
    assert all(value > 0 for value in seconds.values())

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats

from acclimate.data.augment import Augmentation, resample
from acclimate.data.transforms import ImageTransform
from acclimate.errors import ConfigError


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    # Without overshoots, which Pillow cuts off between its two passes, in an order of its own choice.
    return np.random.default_rng(seed).integers(80, 176, (height, width, 3), dtype=np.uint8)


def smooth(height: int, columns: int, seed: int = 0, width: float = 3) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, columns, 3)), (width, width, 0))
    field = (field - field.min()) / np.ptp(field)
    return (255 * field).astype(np.uint8)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.transpose(2, 0, 1).copy())[None]


def pillow(array: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = array.shape[:2]
    top, left, height, width = box * [rows, columns, rows, columns]
    image = Image.fromarray(array).resize(
        size[::-1], Image.Resampling.BICUBIC, box=(left, top, min(left + width, columns), min(top + height, rows))
    )
    return np.asarray(image).transpose(2, 0, 1).astype(np.float64)


FRACTION = st.floats(0.02, 1.0)


@settings(max_examples=60, deadline=None)
@given(FRACTION, FRACTION, FRACTION, FRACTION, st.integers(3, 60), st.integers(3, 60), st.booleans())
def test_resampling_is_that_of_pillow(
    height: float, width: float, y: float, x: float, rows: int, columns: int, rough: bool
) -> None:
    array = (noise if rough else smooth)(48, 40)
    box = np.array([y * (1 - height), x * (1 - width), height, width])
    ours = resample(tensor(array), box[None], (rows, columns))[0].numpy()
    assert ours.shape == (3, rows, columns)
    assert ours.min() >= 0
    assert ours.max() <= 255
    difference = np.abs(ours - pillow(array, box, (rows, columns)))
    assert difference.max() < 1.5
    assert difference.mean() < 0.6


def test_whole_picture_at_its_own_size_is_unchanged() -> None:
    array = noise(20, 20)
    same = resample(tensor(array), np.array([[0.0, 0, 1, 1]]), (20, 20))
    torch.testing.assert_close(same, tensor(array).float(), atol=1e-3, rtol=0)
    mirrored = resample(tensor(array), np.array([[0.0, 0, 1, 1]]), (20, 20), np.array([True]))
    torch.testing.assert_close(mirrored, tensor(array).float().flip(-1), atol=1e-3, rtol=0)


def batch(count: int, side: int = 24) -> tuple[torch.Tensor, list[float]]:
    canvases = torch.cat([tensor(noise(side, side, i)) for i in range(count)])
    return canvases, [0.5 + 0.25 * (i % 7) for i in range(count)]


@pytest.mark.parametrize("augmentation", [Augmentation(flip=True), Augmentation(crop=False, flip=True), Augmentation()])
def test_a_view_depends_on_its_own_seed_only(augmentation: Augmentation) -> None:
    canvases, aspects = batch(9)
    seeds = [(3, 1, f"digest{i}") for i in range(9)]
    together = augmentation(canvases, aspects, (16, 12), seeds)
    assert together.dtype == torch.float32
    assert together.shape == (9, 3, 16, 12)
    order = [8, 2, 5]
    apart = augmentation(canvases[order], torch.tensor(aspects)[order], (16, 12), [seeds[i] for i in order])
    torch.testing.assert_close(apart, together[order], atol=1e-4, rtol=0)


def test_seeds_tell_views_apart() -> None:
    augmentation = Augmentation(flip=True)
    seeds = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, "0"), 0, (0, 10), (0, 1, 0, 0)]
    boxes, _ = augmentation.boxes([1.0] * len(seeds), (8, 8), seeds)
    assert len({tuple(box) for box in boxes}) == len(seeds)
    again, _ = augmentation.boxes([1.0], (8, 8), [(np.int64(0), np.int64(1), 0)])
    np.testing.assert_array_equal(again[0], boxes[2])


def test_the_stream_is_the_same_on_every_machine() -> None:
    boxes, flips = Augmentation(flip=True).boxes([1.5, 0.5], (8, 8), [(1, 2, 3), (1, 2, 4)])
    np.testing.assert_allclose(
        boxes,
        [
            [0.0004950177, 0.4911576997, 0.9898098095, 0.5057624102],
            [0.1388404658, 0.2441063753, 0.3688817122, 0.5675407562],
        ],
        atol=1e-9,
    )
    assert flips.tolist() == [True, False]


def test_boxes_follow_the_recipe() -> None:
    count = 4000
    aspects = np.full(count, 1.2)
    boxes, flips = Augmentation(min_scale=0.2, max_scale=0.5, flip=True).boxes(aspects, (8, 8), range(count))
    top, left, height, width = boxes.T
    assert (boxes >= 0).all()
    assert (top + height).max() <= 1 + 1e-12
    assert (left + width).max() <= 1 + 1e-12
    area, shape = height * width, 1.2 * width / height
    assert stats.kstest(area, stats.uniform(0.2, 0.3).cdf).pvalue > 1e-3
    low, high = np.log(3 / 4), np.log(4 / 3)
    assert stats.kstest(np.log(shape), stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert stats.kstest(top / (1 - height), "uniform").pvalue > 1e-3
    assert stats.kstest(left / (1 - width), "uniform").pvalue > 1e-3
    assert 0.46 < flips.mean() < 0.54


def test_long_pictures_fall_back_to_the_largest_centred_box() -> None:
    # Ten tries at nearly the whole of a long picture cannot fit a box of a moderate shape.
    boxes, _ = Augmentation(min_scale=0.99).boxes([8.0, 1 / 8], (8, 8), [0, 1])
    np.testing.assert_allclose(boxes[0], [0, (1 - 1 / 6) / 2, 1, 1 / 6])
    np.testing.assert_allclose(boxes[1], [(1 - 1 / 6) / 2, 0, 1 / 6, 1])


def test_without_crops_the_view_is_that_of_the_evaluation_transform() -> None:
    picture = Image.fromarray(smooth(120, 150, width=8))
    for transform in (ImageTransform(resize=32, crop=(32, 32)), ImageTransform(resize=(32, 32), crop=None)):
        canvas, aspect = transform.canvas(picture, factor=4)
        view = Augmentation(crop=False)(canvas[None], [aspect], (32, 32), [0], transform=transform)[0]
        difference = (view - transform(picture).float()).abs()
        assert difference.max() < 3
    boxes, _ = Augmentation(crop=False).boxes([2.0], (32, 32), [0])
    np.testing.assert_allclose(boxes[0], [0, 0.25, 1, 0.5])


def test_flips_are_off_by_default() -> None:
    assert not Augmentation().boxes([1.0] * 50, (8, 8), range(50))[1].any()


@pytest.mark.parametrize(
    "values",
    [{"min_scale": 0}, {"min_scale": 0.6, "max_scale": 0.5}, {"max_scale": 1.5}, {"ratio": (2, 1)}, {"ratio": (1,)}],
)
def test_bad_values(values: dict) -> None:
    with pytest.raises(ConfigError):
        Augmentation(**values)


def test_lengths_that_differ() -> None:
    canvases, aspects = batch(3)
    with pytest.raises(ValueError, match="2 seeds"):
        Augmentation()(canvases, aspects, (8, 8), [0, 1])
    with pytest.raises(ValueError, match="3 canvases"):
        Augmentation(crop=False)(canvases, aspects[:2], (8, 8), [0, 1])


def test_fingerprint() -> None:
    assert Augmentation().fingerprint == Augmentation(ratio=[3 / 4, 4 / 3]).fingerprint  # type: ignore[arg-type]
    assert len({Augmentation(flip=f, min_scale=s).fingerprint for f in (True, False) for s in (0.1, 0.2)}) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_draws_the_same_views() -> None:
    canvases, aspects = batch(5)
    augmentation = Augmentation(flip=True)
    here = augmentation(canvases, aspects, (16, 16), range(5))
    there = augmentation(canvases.cuda(), aspects, (16, 16), range(5))
    torch.testing.assert_close(there.cpu(), here, atol=0.5, rtol=0)

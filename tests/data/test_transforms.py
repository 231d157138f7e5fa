from __future__ import annotations

import json
import sys
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from acclimate.data import transforms
from acclimate.data.augment import Augmentation
from acclimate.data.transforms import ImageTransform
from acclimate.errors import BackboneError, ConfigError
from tests.helpers.command import run_code


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def reference(processor: object, image: Image.Image) -> torch.Tensor:
    return processor(image, return_tensors="pt")["pixel_values"][0]  # type: ignore[operator]


def assert_parity(processor: object, image: Image.Image) -> ImageTransform:
    config = processor.to_dict()  # type: ignore[attr-defined]
    transform = ImageTransform.from_processor_config(json.loads(json.dumps(config)))
    pixels = transform(image)
    expected = reference(processor, image)
    assert pixels.dtype == (torch.float32 if transform.pad else torch.uint8)
    assert tuple(pixels.shape[1:]) == transform.output_size == tuple(expected.shape[1:])
    torch.testing.assert_close(transform.normalise(pixels), expected, atol=1e-6, rtol=1e-6)
    return transform


SIZES = [(40, 40), (57, 31), (31, 57), (101, 67), (33, 200), (7, 5), (1, 9)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resample", [2, 3, 1])
def test_clip_shortest_edge_and_crop(size: tuple[int, int], resample: int) -> None:
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 33}, crop_size={"height": 32, "width": 32}, resample=resample
    )
    assert_parity(processor, picture(*size))


@pytest.mark.parametrize("size", SIZES)
def test_siglip_exact_resize(size: tuple[int, int]) -> None:
    assert_parity(SiglipImageProcessorPil(size={"height": 48, "width": 36}), picture(*size))


def test_siglip_at_full_size() -> None:
    transform = assert_parity(SiglipImageProcessorPil(size={"height": 384, "width": 384}), picture(500, 333))
    assert transform.output_size == (384, 384)


@pytest.mark.parametrize("crop", [(45, 45), (44, 20), (21, 60), (64, 63)])
@pytest.mark.parametrize("size", [(30, 31), (31, 30), (50, 20)])
def test_crops_larger_than_the_picture_are_padded_as_the_reference_does(
    crop: tuple[int, int], size: tuple[int, int]
) -> None:
    processor = CLIPImageProcessorPil(do_resize=False, crop_size={"height": crop[0], "width": crop[1]})
    assert_parity(processor, picture(*size))
    assert_parity(
        CLIPImageProcessorPil(size={"shortest_edge": 29}, crop_size={"height": crop[0], "width": crop[1]}),
        picture(*size),
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(4, 40), st.integers(4, 40))
def test_parity_for_any_size(width: int, height: int, edge: int, crop: int) -> None:
    assert_parity(CLIPImageProcessorPil(size={"shortest_edge": edge}, crop_size=crop), picture(width, height))


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
PROCESSORS = {
    "vit, swin": ViTImageProcessorPil(size={"height": 48, "width": 36}),
    "vit-mae, swinv2": ViTImageProcessorPil(size={"height": 36, "width": 36}, **IMAGENET, resample=3),
    "beit": BeitImageProcessorPil(size={"height": 33, "width": 34}),
    "beit with a crop": BeitImageProcessorPil(size=40, crop_size=32, do_center_crop=True),
    "deit": DeiTImageProcessorPil(size=40, crop_size=33),
    "dinov2": BitImageProcessorPil(size={"shortest_edge": 38}, crop_size=33, **IMAGENET),
    "convnext": ConvNextImageProcessorPil(size={"shortest_edge": 33}, crop_pct=0.9),
    "convnextv2": ConvNextImageProcessorPil(size={"shortest_edge": 32}, **IMAGENET),
    "sam": SamImageProcessorPil(size={"longest_edge": 33}, pad_size={"height": 33, "width": 33}),
    "sam, more padding": SamImageProcessorPil(size={"longest_edge": 30}, pad_size={"height": 32, "width": 40}),
}


@pytest.mark.parametrize("size", [size for size in SIZES if size != (1, 9)] + [(2, 7), (66, 33), (33, 22), (22, 44)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_processors_of_domain_encoders(name: str, size: tuple[int, int]) -> None:
    assert_parity(PROCESSORS[name], picture(*size))


@pytest.mark.parametrize("size", [(57, 31), (500, 333)])
@pytest.mark.parametrize(
    "processor",
    [ConvNextImageProcessorPil(), ConvNextImageProcessorPil(size={"shortest_edge": 224}), SamImageProcessorPil()],
    ids=["convnext at 384", "convnext at 224", "sam"],
)
def test_processors_at_full_size(processor: object, size: tuple[int, int]) -> None:
    assert_parity(processor, picture(*size))


EVERY = sorted({CLIPImageProcessorPil, SiglipImageProcessorPil, *map(type, PROCESSORS.values())}, key=str)


@pytest.mark.parametrize("make", EVERY)
def test_keys_that_are_left_out_have_the_default_of_their_processor(make: type) -> None:
    processor = make()
    bare = ImageTransform.from_processor_config({"image_processor_type": make.__name__.removesuffix("Pil")})
    assert bare == ImageTransform.from_processor_config(processor.to_dict())


@pytest.mark.parametrize("size", [(57, 31), (33, 200), (40, 40), (20, 20)])
def test_dinov3_is_within_a_grey_level(size: tuple[int, int]) -> None:
    """Its processor has no Pillow backend: it rescales first and resizes floats, as interpolate does."""
    image = picture(*size)
    transform = ImageTransform.from_processor_config(
        {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 36, "width": 24}, **IMAGENET}
    )
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(pixels, (36, 24), mode="bilinear", antialias=True, align_corners=False)
    assert (transform(image).float() - resized[0]).abs().max() < 1.01


def test_sam_pads_with_zeros_after_normalisation() -> None:
    transform = ImageTransform.from_processor_config(PROCESSORS["sam"].to_dict())
    assert (transform.resize, transform.crop, transform.pad, transform.output_size) == (33, None, (33, 33), (33, 33))
    pixels = transform.normalise(transform(picture(66, 20)))
    assert pixels[:, 10:].abs().max() < 1e-6
    assert pixels[:, :10].abs().min() > 0
    assert ImageTransform.from_dict(json.loads(json.dumps(transform.to_dict()))) == transform
    assert "pad" not in ImageTransform().to_dict()
    assert ImageTransform().fingerprint == "ade42c65dbb7c37b27145f308b36b330"


@pytest.mark.parametrize("size", [(66, 20), (20, 66), (31, 31), (66, 33), (33, 22)])
@pytest.mark.parametrize("name", ["sam", "sam, more padding"])
def test_views_of_whole_pictures_are_padded_alike(name: str, size: tuple[int, int]) -> None:
    """With crops off, a view shows what the evaluation transform shows; mirrored, the padding stays where it is."""
    transform = ImageTransform.from_processor_config(PROCESSORS[name].to_dict())
    ramp = np.linspace(60, 200, size[0])[None, :, None] + np.linspace(-40, 40, size[1])[:, None, None]
    image = Image.fromarray(np.repeat(ramp, 3, axis=2).astype(np.uint8))
    canvas, aspect = transform.canvas(image)
    views = Augmentation(crop=False, flip=True)(
        canvas.expand(24, -1, -1, -1), [aspect] * 24, transform.output_size, list(range(24)), transform=transform
    )
    plain = transform.normalise(transform(image))
    mirrored = transform.normalise(transform(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    matches = [
        [float((transform.normalise(view) - wanted).abs().max()) < 0.12 for wanted in (plain, mirrored)]
        for view in views
    ]
    assert all(sum(row) == 1 for row in matches)
    assert 0 < sum(row[0] for row in matches) < 24
    padding = (plain.abs().amax(0) < 1e-6).float()
    assert (transform.normalise(views) * padding).abs().max() < 1e-5


def test_the_box_of_a_padded_view_has_the_size_of_the_padded_picture() -> None:
    """Also where the short edge is half-way between two lengths, and the box knows the aspect ratio alone."""
    for edge in (21, 32, 33):
        transform = ImageTransform(resize=edge, crop=None, pad=(edge, edge))
        for width, height in product(range(1, 90), repeat=2):
            rows, columns = transform._resized(height, width)
            assert transform.view_box(width / height) == (0, 0, edge / rows, edge / columns)


def test_a_random_crop_fills_a_padded_view() -> None:
    transform = ImageTransform(resize=16, crop=None, pad=(16, 16))
    canvas, aspect = transform.canvas(picture(40, 10))
    options = {"size": (16, 16), "seeds": [5]}
    view = Augmentation()(canvas[None], [aspect], **options, transform=transform)
    torch.testing.assert_close(view, Augmentation()(canvas[None], [aspect], **options), atol=1e-3, rtol=0)


def test_flags_off() -> None:
    processor = SiglipImageProcessorPil(size={"height": 8, "width": 8}, do_normalize=False)
    assert assert_parity(processor, picture(20, 10)).mean == (0.0, 0.0, 0.0)
    raw = ImageTransform.from_processor_config(
        {"image_processor_type": "SiglipImageProcessor", "size": {"height": 8, "width": 8}}
        | {"do_normalize": False, "do_rescale": False}
    )
    assert raw.normalise(raw(picture(9, 9))).max() > 1


def test_old_spelling_of_clip() -> None:
    config = {
        "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3, "size": 224,
    }  # fmt: skip
    new = ImageTransform.from_processor_config(CLIPImageProcessorPil().to_dict())
    assert ImageTransform.from_processor_config(config) == new == ImageTransform()
    assert new.fingerprint == ImageTransform.from_processor_config({}).fingerprint


def test_a_bare_size_is_a_square_where_the_family_says_so() -> None:
    vit = ImageTransform.from_processor_config({"image_processor_type": "ViTImageProcessor", "size": 30})
    assert (vit.resize, vit.crop, vit.resample) == ((30, 30), None, "bilinear")
    bit = {"image_processor_type": "BitImageProcessor", "size": 30, "crop_size": [28, 26], "resample": "lanczos"}
    dino = ImageTransform.from_processor_config({**bit, "image_mean": 0.5})
    assert (dino.resize, dino.crop, dino.resample, dino.mean) == (30, (28, 26), "lanczos", (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"size": {"longest_edge": 3}}, "longest_edge"),
        ({"resample": 9}, "resample=9"),
        ({"do_pad": True}, "do_pad"),
        ({"image_processor_type": "SamImageProcessor", "do_pad": False}, "do_pad=False of a SAM processor"),
        ({"image_processor_type": "SamImageProcessor", "size": {"height": 8, "width": 8}}, "longest_edge"),
        ({"image_processor_type": "SamImageProcessor", "pad_size": {"longest_edge": 8}}, "pad_size"),
        ({"image_processor_type": "ConvNextImageProcessor", "do_center_crop": True}, "do_center_crop"),
        ({"image_mean": [1, 2]}, "image_mean"),
    ],
)
def test_configs_that_cannot_be_followed(config: dict, part: str) -> None:
    with pytest.raises(BackboneError, match=part):
        ImageTransform.from_processor_config(config)


@pytest.mark.parametrize(
    "values",
    [
        {"resample": "cubic"},
        {"crop": None},
        {"crop": (0, 3)},
        {"resize": -1},
        {"std": (1, 0, 1)},
        {"resize": (1, 2, 3)},
        {"pad": (300, 300)},
        {"crop": None, "pad": (200, 300)},
        {"crop": None, "pad": (0, 300)},
        {"resize": (8, 8), "crop": None, "pad": (16, 16)},
    ],
)
def test_bad_values(values: dict) -> None:
    with pytest.raises(ConfigError):
        ImageTransform(**values)


def test_round_trip_and_fingerprint() -> None:
    transform = ImageTransform(resize=(10, 12), crop=None, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    again = ImageTransform.from_dict(json.loads(json.dumps(transform.to_dict())))
    assert again == transform
    assert again.fingerprint == transform.fingerprint != ImageTransform().fingerprint
    with pytest.raises(ConfigError, match="colour"):
        ImageTransform.from_dict({"colour": 1})


def test_grey_and_transparent_pictures_are_accepted() -> None:
    transform = ImageTransform(resize=8, crop=(8, 8))
    assert transform(picture(9, 9).convert("L")).shape == (3, 8, 8)
    assert transform(picture(9, 9).convert("RGBA")).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("size", "side"), [((20, 10), 32), ((40, 30), 40), ((47, 47), 40), ((500, 90), 64), ((64, 10), 64)]
)
def test_canvas_side(size: tuple[int, int], side: int) -> None:
    canvas, aspect = ImageTransform(resize=32, crop=(32, 32)).canvas(picture(*size), factor=2)
    assert canvas.shape == (3, side, side)
    assert canvas.dtype == torch.uint8
    assert aspect == size[0] / size[1]


def test_canvas_factor_below_one() -> None:
    with pytest.raises(ConfigError, match="factor"):
        ImageTransform().canvas(picture(4, 4), factor=0.5)


def test_view_box() -> None:
    assert ImageTransform(resize=(4, 4), crop=None).view_box(3.0) == (0, 0, 1, 1)
    assert ImageTransform(resize=20, crop=(20, 20)).view_box(2.0) == (0, 0.25, 1, 0.5)
    assert ImageTransform(resize=20, crop=(10, 10)).view_box(0.5) == (0.375, 0.25, 0.25, 0.5)
    assert ImageTransform(resize=(20, 40), crop=(10, 10)).view_box(0.5) == (0.25, 0.375, 0.5, 0.25)
    assert ImageTransform(resize=None, crop=(10, 10)).view_box(2.0) == (0, 0.25, 1, 0.5)
    assert ImageTransform(resize=10, crop=(30, 30)).view_box(1.0) == (0, 0, 1, 1)


def waves(width: int, height: int) -> Image.Image:
    """Draw waves of five pixels, too low to overshoot, so that the order of the directions does not matter."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([128 + 70 * np.sin((x + y) * 2 * np.pi / 5 + phase) for phase in range(3)], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


LONG = [(3, 800), (800, 3), (1, 500), (500, 1), (5, 301), (2, 40)]


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("resample", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("crop", [(24, 24), (40, 24), (17, 30)])
def test_cutting_before_scaling_gives_what_cutting_after_it_does(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], resample: str, crop: tuple[int, int]
) -> None:
    image = waves(*size)
    transform = ImageTransform(resize=24, crop=crop, resample=resample)
    plain = transform(image)
    monkeypatch.setattr(transforms, "MOST_SCALED", 100)
    assert (transform(image).int() - plain.int()).abs().max() <= 2


@pytest.mark.parametrize("size", LONG)
def test_scaling_on_the_side_gives_the_same_within_rounding(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    image = waves(*size)
    transform = ImageTransform(resize=(24, 24), crop=None)
    plain, canvas = transform(image), transform.canvas(image)[0]
    monkeypatch.setattr(transforms, "MOST_SCALED", 100)
    assert (transform(image).int() - plain.int()).abs().max() <= 2
    assert (transform.canvas(image)[0].int() - canvas.int()).abs().max() <= 2


LONG_IMAGES = """
import resource, sys
from acclimate.data import open_image
from acclimate.data.check.facts import measure
from acclimate.data.transforms import ImageTransform
import numpy as np, io
from PIL import Image
ramp = np.linspace(0, 255, 65_500).astype(np.uint8)
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 1_000_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for shape in ((1, 65_500), (65_500, 1)):
    stream = io.BytesIO()
    Image.fromarray(ramp.reshape(shape)).save(stream, "PNG")
    image = open_image(stream.getvalue())
    for fields in ({}, {"resize": (384, 384), "crop": None}, {"resize": 1024, "crop": None, "pad": (1024, 1024)}):
        transform = ImageTransform(**fields)
        print(*transform(image).shape, round(float(transform(image).float().mean())), *transform.canvas(image)[0].shape)
    print(measure(stream.getvalue(), "long").width)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and limits of memory")
def test_long_and_narrow_images_take_little_memory() -> None:
    """A 1 x 65,500 image scaled by its short edge would be 224 x 14,672,000 pixels, 11 GB with what Pillow holds."""
    lines = run_code(LONG_IMAGES).splitlines()
    assert lines[0] == lines[4] == "3 224 224 127 3 448 448"  # the middle of a ramp from 0 to 255
    assert lines[1] == lines[5] == "3 384 384 127 3 768 768"
    assert lines[2].startswith("3 1024 1024 ")
    assert (lines[3], lines[7]) == ("65500", "1")

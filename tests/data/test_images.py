from __future__ import annotations

import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acclimate.data import images, open_image, opening
from acclimate.errors import DataError


def pixels(source: object, **options: object) -> np.ndarray:
    picture = open_image(source, **options)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def photo(height: int = 48, width: int = 64) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], 2).astype(np.uint8))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif", "jpg", "jp2", "ppm", "tga"])
def test_common_formats_keep_their_pixels(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    photo().save(tmp_path / f"a.{suffix}", **options)
    difference = np.abs(pixels(tmp_path / f"a.{suffix}").astype(int) - np.asarray(photo()).astype(int))
    assert difference.mean() < (12 if suffix == "gif" else 3)


def test_a_path_and_its_bytes_give_the_same_picture(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    assert (pixels(str(tmp_path / "a.png")) == pixels((tmp_path / "a.png").read_bytes())).all()


def test_eight_bit_grey_one_bit_and_hsv(tmp_path: Path) -> None:
    grey = photo().convert("L")
    grey.save(tmp_path / "grey.png")
    assert (pixels(tmp_path / "grey.png") == np.asarray(grey)[..., None]).all()
    Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "bit.png")
    assert (pixels(tmp_path / "bit.png")[..., 0] == 255 * np.eye(8)).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_full_range_16_bit_is_divided_by_its_range(tmp_path: Path, suffix: str) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert (pixels(tmp_path / f"a.{suffix}")[..., 1] == np.arange(256).reshape(16, 16)).all()


def test_big_endian_16_bit(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256).astype(">u2").reshape(16, 16)
    picture = Image.frombytes("I;16B", (16, 16), values.tobytes())
    assert (np.asarray(images.to_rgb(picture))[..., 0] == np.arange(256).reshape(16, 16)).all()


def test_12_bit_in_16_bit_is_stretched_between_its_percentiles(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = pixels(tmp_path / "a.png")[..., 0].astype(float)
    assert found.min() == 0
    assert found.max() == 255
    assert np.abs(found - values / 4095 * 255).max() < 2


def test_8_bit_values_in_a_wide_file_stay(tmp_path: Path) -> None:
    values = np.arange(16, 80).reshape(8, 8)
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "a.tif")
    assert (pixels(tmp_path / "a.tif")[..., 2] == values).all()


def test_float_tiff_with_outliers_and_nan(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((100, 100)).astype(np.float32) - 0.5
    values[0, 0], values[0, 1], values[0, 2] = 1e9, np.nan, -np.inf
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = pixels(tmp_path / "a.tif")[..., 0]
    assert found[0, 0] == 255
    assert found[0, 1] == found[0, 2] == 0
    assert 120 < found.mean() < 136


@pytest.mark.parametrize("value", [np.nan, 7.5])
def test_constant_and_empty_float_pictures_are_black(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((8, 8), value, np.float32)).save(tmp_path / "a.tif")
    assert not pixels(tmp_path / "a.tif").any()


def test_a_single_bright_pixel_is_not_lost() -> None:
    values = np.full((100, 100), 1000, np.int32)
    values[3, 4] = 3000
    found = np.asarray(images.to_rgb(Image.fromarray(values)))
    assert found[3, 4, 0] == 255
    assert found[0, 0, 0] == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGBa", "PA"])
def test_transparency_lies_on_white(tmp_path: Path, mode: str) -> None:
    layer = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    layer.paste((0, 0, 0, 255), (0, 0, 4, 8))
    picture = layer.convert(mode)
    if mode in ("RGBA", "LA", "P"):
        picture.save(tmp_path / "a.png")
        found = pixels(tmp_path / "a.png")
    else:
        found = np.asarray(images.to_rgb(picture))
    assert (found[:, :4] == 0).all()
    assert (found[:, 4:] == 255).all()


def test_cmyk_ycbcr_and_lab(tmp_path: Path) -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 40))
    red.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    red.convert("YCbCr").save(tmp_path / "ycc.jpg", quality=95)
    Image.new("LAB", (16, 16), (128, 128, 128)).save(tmp_path / "lab.tif")
    for name in ("cmyk.jpg", "ycc.jpg"):
        assert np.abs(pixels(tmp_path / name).astype(int) - (200, 30, 40)).max() < 8
    assert np.abs(pixels(tmp_path / "lab.tif").astype(int) - 119).max() < 4


@pytest.mark.parametrize("suffix", ["gif", "tif"])
def test_the_first_frame_counts(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (10, 200, 100)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    assert (pixels(tmp_path / f"a.{suffix}") == 10).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_rotation(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = photo(32, 48)
    stored = upright.rotate({1: 0, 3: 180, 6: 90, 8: 270}[orientation], expand=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    found = pixels(tmp_path / f"a.{suffix}")
    assert found.shape == (32, 48, 3)
    assert np.abs(found.astype(int) - np.asarray(upright).astype(int)).mean() < 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xffjunk")
    assert pixels(tmp_path / "a.jpg").shape == (48, 64, 3)


def test_size_hint_shrinks_jpeg_but_never_below_it(tmp_path: Path) -> None:
    photo(800, 1200).save(tmp_path / "a.jpg")
    assert open_image(tmp_path / "a.jpg").size == (1200, 800)
    assert open_image(tmp_path / "a.jpg", min_side=224).size == (600, 400)
    assert open_image(tmp_path / "a.jpg", min_side=100).size == (150, 100)
    assert open_image(tmp_path / "a.jpg", min_side=900).size == (1200, 800)
    photo(80, 120).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", min_side=8).size == (120, 80)


def test_pictures_beyond_pillows_guard_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    photo().save(tmp_path / "big.png")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "big.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(tmp_path / "big.png").size == (64, 48)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_pictures_beyond_our_bound_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "too-big.pgm").write_bytes(b"P5 40000 40000 255\n")
    with pytest.raises(DataError, match="40000 x 40000 pixels, more than"):
        open_image(tmp_path / "too-big.pgm")


def test_many_threads_leave_the_guard_alone(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.jpg")
    before = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        assert len({picture.tobytes() for picture in pool.map(open_image, [tmp_path / "a.jpg"] * 64)}) == 1
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_open_images(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    with opening._guard:  # the moment in which another thread opens a file
        child = os.fork()
        if not child:
            open_image(tmp_path / "a.png")
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def bad_files(folder: Path) -> dict[str, str]:
    stream = BytesIO()
    photo(200, 200).save(stream, "JPEG")
    (folder / "cut.jpg").write_bytes(stream.getvalue()[:2000])
    stream = BytesIO()
    photo(200, 200).save(stream, "PNG")
    (folder / "cut.png").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not an image, only a name that ends like one")
    (folder / "folder.jpg").mkdir()
    return {
        "cut.jpg": "truncated",
        "cut.png": "truncated",
        "empty.jpg": "empty",
        "text.jpg": "not an image",
        "folder.jpg": "folder",
        "none.jpg": "no such file",
    }


def test_bad_files_are_named_in_one_line(tmp_path: Path) -> None:
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(DataError, match=reason) as caught:
            open_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(DataError, match=r"<bytes>.*empty"):
        open_image(b"")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(DataError, match="permission"):
        open_image(tmp_path / "a.png")

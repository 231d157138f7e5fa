"""Images of more than 8 bits and of many bands: what is shown of them, and what names them in a cache."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from acclimate.data import check_data, load_data, open_image, tiffs
from acclimate.data.images import FRAMES
from acclimate.data.levels import colour_levels, grey_levels
from acclimate.errors import DataError
from tests.helpers.pictures import make_pictures, wide_png

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 4096, (48, 40, 3)).astype(np.uint16)
BANDS = np.stack([np.full((40, 48), 1) * np.arange(48) * 50 * (band + 1) + 300 for band in range(6)], 2).astype(
    np.uint16
)


def tiff(values: np.ndarray, **options: object) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, values, **{"photometric": "minisblack", "planarconfig": "contig"} | options)
    return stream.getvalue()


def read(content: bytes, **options: object) -> np.ndarray:
    return np.asarray(open_image(content, notice=lambda name, oddity: None, **options))


def stretched(values: np.ndarray) -> np.ndarray:
    """Stretch numbers as a reader of the documentation would, all of them valid."""
    low, high = np.percentile(values, (2, 98))
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)


FORMS = {
    "PNG": wide_png(COLOURS),
    "little-endian": tiff(COLOURS, photometric="rgb"),
    "big-endian": tiff(COLOURS, photometric="rgb", byteorder=">"),
    "compressed": tiff(COLOURS, photometric="rgb", compression="lzw", predictor=True),
    "compressed, big-endian": tiff(COLOURS, photometric="rgb", compression="deflate", byteorder=">"),
    "tiles": tiff(COLOURS, photometric="rgb", tile=(16, 16)),
    "planes": tiff(COLOURS.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"),
    "planes, compressed": tiff(
        COLOURS.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", compression="zstd", tile=(16, 16)
    ),
    "no colours by its tags": tiff(COLOURS),
}


@pytest.mark.parametrize("form", FORMS)
def test_12_bit_colours_are_stretched_by_two_values_for_all_bands(form: str) -> None:
    found = read(FORMS[form])
    assert np.abs(found - stretched(COLOURS)).max() <= 1  # float32 rounds
    assert 120 < found.mean() < 135  # 7.5 were the upper bytes alone


def test_the_relations_of_the_bands_are_kept() -> None:
    found = read(tiff(BANDS[..., :3] // np.array([1, 1, 12], np.uint16), photometric="rgb")).astype(int)
    assert (found[..., 2] < 60).all()  # stretched band by band, it would reach 255
    assert found[..., 1].max() == 255


def test_transparent_pixels_do_not_decide_the_stretch_and_lie_on_white() -> None:
    values = np.concatenate([COLOURS, np.full((48, 40, 1), 65535)], 2).astype(np.uint16)
    values[:8] = (30_000, 30_000, 30_000, 0)
    found = read(tiff(values, photometric="rgb", extrasamples=["unassalpha"]))
    assert (found[:8] == 255).all()
    assert np.abs(found[8:] - stretched(COLOURS[8:])).max() <= 1


def test_8_bit_values_in_16_bit_colours_stay() -> None:
    values = COLOURS // 16
    assert (read(wide_png(values)) == values).all()
    assert (read(tiff(values)) == values).all()
    assert (read(tiff(values.astype(np.uint8))) == values).all()


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}, {"tile": (16, 16)}, {"bigtiff": True}])
def test_many_bands_are_shown_by_their_numbers(tmp_path: Path, planar: bool, options: dict) -> None:
    content = (
        tiff(BANDS.transpose(2, 0, 1).copy(), planarconfig="separate", **options) if planar else tiff(BANDS, **options)
    )
    (tmp_path / "a.tif").write_bytes(content)
    for source in (content, tmp_path / "a.tif"):
        assert np.abs(read(source) - stretched(BANDS[..., :3])).max() <= 1
        assert np.abs(read(source, bands=(4, 3, 6)) - stretched(BANDS[..., [3, 2, 5]])).max() <= 1
        assert (read(source, bands=(5,)) == grey_levels(BANDS[..., 4])[..., None]).all()
    with pytest.raises(DataError, match=r"a\.tif'?: it has 6 bands, too few for `bands=4,3,7`"):
        open_image(tmp_path / "a.tif", bands=(4, 3, 7))


def test_many_bands_are_warned_of_unless_they_are_chosen() -> None:
    said: list[str] = []
    open_image(tiff(BANDS), notice=lambda name, oddity: said.append(oddity))
    (line,) = said
    assert line.startswith("it has 6 bands, of which 1, 2 and 3 are shown")
    open_image(tiff(BANDS), notice=lambda name, oddity: said.append(oddity), bands=(1, 2, 3))
    assert len(said) == 1


def test_bands_of_plain_colours_and_grey() -> None:
    stream = BytesIO()
    Image.fromarray((COLOURS // 16).astype(np.uint8)).save(stream, "PNG")
    assert (read(stream.getvalue(), bands=(3, 2, 1)) == COLOURS[..., ::-1] // 16).all()
    assert (read(stream.getvalue(), bands=(2,)) == COLOURS[..., 1:2] // 16).all()
    with pytest.raises(DataError, match="it has 3 bands, too few for `bands=4,3,2`"):
        read(stream.getvalue(), bands=(4, 3, 2))
    grey = tiff(COLOURS[..., 0].copy())
    assert (read(grey, bands=(1,)) == read(grey)).all()
    with pytest.raises(DataError, match="it has 1 band, too few"):
        read(grey, bands=(1, 2, 1))


# ---------------------------------------------------------------- numbers


def sar(no_data: float) -> np.ndarray:
    values = RANDOM.normal(-12, 4, (40, 48)).astype(np.float32)
    values[:, :12] = no_data
    return values


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint16])
def test_no_data_is_black_and_decides_nothing(dtype: type) -> None:
    values = np.where(sar(0) == 0, 0, sar(0) * 100 + 30_000 * (dtype is np.uint16)).astype(dtype)
    no_data = -9999 if np.dtype(dtype).kind != "u" else 7
    values[:, :12] = no_data
    found = read(tiff(values, extratags=[(42113, "s", 0, str(no_data), True)]))
    assert not found[:, :12].any()
    assert (found[:, 12:] == grey_levels(values[:, 12:])[..., None]).all()
    assert 100 < found[:, 12:].mean() < 155


def test_no_data_in_two_bands_of_floats() -> None:
    values = np.stack([sar(-9999), sar(-9999) - 6], 2)
    values[:, :12], values[20:] = -9999, np.where(RANDOM.random((20, 48, 1)) < 0.1, np.nan, values[20:])
    found = read(tiff(values, extratags=[(42113, "s", 0, "-9999", True)]))
    assert not found[:, :12].any()
    assert not found[np.isnan(values[..., 0])].any()
    valid = np.isfinite(values) & (values != -9999)
    low, high = np.percentile(values[valid], (2, 98))
    wanted = np.where(valid, np.clip((values - low) / (high - low), 0, 1) * 255, 0)[..., [0, 1, 0]]
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float16, np.float32, np.float64])
def test_a_ramp_of_any_numbers_rises(dtype: type) -> None:
    limits = (-100, 100) if dtype in (np.int8, np.float16) else (-30_000, 30_000)
    limits = (0, 2**32 - 1) if dtype is np.uint32 else limits
    ramp = np.tile(np.linspace(*limits, 256), (8, 1)).astype(dtype)
    found = read(tiff(ramp))[..., 0].astype(int)
    assert np.abs(found - np.arange(256)).max() <= 1
    inverted = read(tiff(ramp, photometric="miniswhite"))[..., 0].astype(int)
    assert np.abs(inverted - np.arange(256)[::-1]).max() <= 1


def test_white_is_zero_in_16_bits_and_complex_numbers() -> None:
    ramp = np.tile(np.arange(256) * 257, (8, 1)).astype(np.uint16)
    assert (read(tiff(ramp, photometric="miniswhite"))[0, :, 0] == np.arange(256)[::-1]).all()
    waves = (ramp * np.exp(1j)).astype(np.complex64)
    assert np.abs(read(tiff(waves))[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_the_orientation_of_many_bands_counts() -> None:
    turned = read(tiff(BANDS, extratags=[(274, "H", 1, 6, True)]))
    assert (turned == np.rot90(read(tiff(BANDS)), -1)).all()


def test_bands_of_nothing_are_black() -> None:
    assert not colour_levels(np.full((4, 4, 3), np.nan)).any()
    assert not read(tiff(np.full((4, 4, 3), 5.5, np.float32))).any()


# ---------------------------------------------------------------- what is refused


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(BANDS))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    words = r"a\.tif'?: it is a TIFF of 6 bands of 16-bit whole numbers, which `pip install 'acclimate\[tiff\]'` reads"
    with pytest.raises(DataError, match=words):
        open_image(tmp_path / "a.tif")
    assert np.abs(read(FORMS["tiles"]) - stretched(COLOURS)).max() <= 1  # three bands need no package


def test_damaged_files_of_many_bands_end_in_one_line(tmp_path: Path) -> None:
    whole = tiff(BANDS, compression="deflate")
    for number, content in enumerate((whole[: len(whole) // 2], whole[:300], whole[:8] + bytes(len(whole) - 8))):
        (tmp_path / f"{number}.tif").write_bytes(content)
        with pytest.raises(DataError, match=rf"{number}\.tif") as caught:
            open_image(tmp_path / f"{number}.tif")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"tile": (64, 64), "compression": "deflate"}])
def test_large_files_are_read_by_an_overview_or_every_nth_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict
) -> None:
    monkeypatch.setattr(tiffs, "MOST_READ", 50 * 50)
    monkeypatch.setattr(tiffs, "_LEAST_OVERVIEW", 30 * 30)
    values = RANDOM.integers(0, 5000, (150, 160, 5)).astype(np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(values, **options))
    for source in (tmp_path / "a.tif", (tmp_path / "a.tif").read_bytes()):
        assert np.abs(read(source) - stretched(values[::4, ::4, :3])).max() <= 1
    small = values[1::4, 1::4]
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(values, photometric="minisblack", planarconfig="contig", **options)
        file.write(values[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1, **options)
        file.write(small, photometric="minisblack", planarconfig="contig", subfiletype=1, **options)
    assert np.abs(read(tmp_path / "b.tif") - stretched(small[..., :3])).max() <= 1


@pytest.mark.slow
def test_a_tiff_larger_than_pillow_decodes_is_read_in_part_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (20_000, 20_000)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:  # none of its tiles is stored but the first
        tiles = iter([np.full((1024, 1024, 3), 200, np.uint8)])
        empty = (None for _ in range(399))
        options = {"tile": (1024, 1024), "compression": "deflate", "photometric": "rgb"}
        file.write((tile for part in (tiles, empty) for tile in part), shape=(*size, 3), dtype="uint8", **options)
    found = np.asarray(open_image(tmp_path / "a.tif"))
    assert found.shape == (4000, 4000, 3)
    assert (found[:204, :204] == 200).all()
    assert not found[210:].any()
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"3 bands of 8-bit whole numbers and 20000 x 20000 pixels, which `pip install"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_overviews_are_no_further_pages(compression: str | None) -> None:
    values = (COLOURS // 16).astype(np.uint8)
    for kind, words in ((1, []), (0, [FRAMES])):
        stream = BytesIO()
        said: list[str] = []
        with tifffile.TiffWriter(stream) as file:
            for step, page in ((1, 0), (2, 1), (4, kind)):
                file.write(values[::step, ::step].copy(), photometric="rgb", subfiletype=page, compression=compression)
        found = open_image(stream.getvalue(), notice=lambda name, oddity, said=said: said.append(oddity))
        assert (np.asarray(found) == values).all()
        assert said == words


# ---------------------------------------------------------------- data


def test_the_cache_knows_only_what_is_read_anew_by_another_name() -> None:
    stream = BytesIO()
    Image.fromarray((COLOURS // 16).astype(np.uint8)).save(stream, "PNG")
    as_ever = [
        stream.getvalue(),
        tiff(COLOURS[..., 0].copy()),
        tiff((COLOURS // 16).astype(np.uint8), photometric="rgb"),
    ]
    as_ever += [tiff(sar(0)), tiff(COLOURS[..., 0].astype(np.int16))]
    assert [tiffs.reading(content) for content in as_ever] == [""] * len(as_ever)
    anew = [*FORMS.values(), tiff(BANDS), tiff(COLOURS[..., 0].copy(), photometric="miniswhite")]
    anew += [tiff(sar(0), extratags=[(42113, "s", 0, "0", True)]), tiff(COLOURS[..., 0].astype(np.uint32))]
    assert "" not in [tiffs.reading(content) for content in anew]


def test_the_check_says_what_was_stretched_and_what_has_no_data(tmp_path: Path) -> None:
    make_pictures(tmp_path, ("cat", "dog"), 3)
    (tmp_path / "cat/a.png").write_bytes(FORMS["PNG"])
    (tmp_path / "cat/b.tif").write_bytes(tiff(BANDS))
    (tmp_path / "dog/c.tif").write_bytes(tiff(sar(-9999), extratags=[(42113, "s", 0, "-9999", True)]))
    found = {finding.kind: finding for finding in check_data(load_data(tmp_path)).findings}
    assert found["stretched"].examples == (("cat/a.png",), ("cat/b.tif",), ("dog/c.tif",))
    assert found["no_data"].examples == (("dog/c.tif",),)
    assert "25% of them" in found["no_data"].message
    assert found["read_in_part"].examples == (("cat/b.tif",),)

"""Which files are opened as images, and what of them is not read as it stands."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from acclimate.data import check_data, load_data, open_image
from acclimate.data.finding import find_images
from acclimate.data.images import FOURTH_BAND, FRAMES
from acclimate.errors import DataError
from tests.helpers.pictures import chunk, make_pictures, picture, wide_png


def test_an_eps_under_the_name_of_a_png_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    file = tmp_path / "a.png"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(DataError, match=r"drawing or document \(convert to PNG or JPEG\)"):
        open_image(file)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("form", ["ICO", "PCX", "SGI", "DDS"])
def test_other_formats_are_refused_under_any_name(tmp_path: Path, form: str) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", form)
    with pytest.raises(DataError, match="not an image of a known format"):
        open_image(tmp_path / "a.png")


def with_chunks(content: bytes, *chunks: bytes, last: bool = False) -> bytes:
    """Put chunks behind the header of a PNG, or before its end."""
    place = len(content) - 12 if last else 33
    return content[:place] + b"".join(chunks) + content[place:]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["profile", "text", "many texts"])
def test_png_files_with_large_profiles_and_many_texts_are_read(kind: str, last: bool) -> None:
    large = zlib.compress(np.random.default_rng(0).bytes(2_000_000))
    text = zlib.compress(bytes(1_000_000))
    chunks = {
        "profile": [chunk(b"iCCP", b"scanner\x00\x00" + large)],
        "text": [chunk(b"zTXt", b"Comment\x00\x00" + large)],
        "many texts": [chunk(b"zTXt", b"Comment\x00\x00" + text)] * 70,
    }[kind]
    stream = BytesIO()
    picture(0, 0).save(stream, "PNG")
    content = with_chunks(stream.getvalue(), *chunks, last=last)
    if kind != "profile" or not last:  # without our reading, Pillow refuses them
        with pytest.raises(ValueError, match=r"too large|Too much"):
            Image.open(BytesIO(content)).load()
    assert open_image(content).tobytes() == picture(0, 0).tobytes()


def test_the_orientation_in_the_texts_of_a_png_still_counts() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * 100, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>')
    stream = BytesIO()
    picture(0, 0, size=(40, 20)).save(stream, "PNG", pnginfo=texts)
    assert open_image(stream.getvalue()).size == (20, 40)


def test_sides_beyond_the_bound_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "long.pgm").write_bytes(b"P5 1 300000 255\n" + bytes(300_000))
    with pytest.raises(DataError, match=r"1 x 300000 pixels, more than the 262,144 a side \(cut it into tiles\)"):
        open_image(tmp_path / "long.pgm")


# ---------------------------------------------------------------- what is not read as it stands


def wide_tiff(values: np.ndarray, order: str = "<") -> bytes:
    """Write 16-bit bands (H, W, 3 or 4) as TIFF without compression."""
    height, width, bands = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, None), (259, 3, 1), (262, 3, 2), (273, 4, None)]
    tags += [(277, 3, bands), (278, 4, height), (279, 4, len(pixels)), *([(338, 3, 0)] if bands == 4 else [])]
    after = 8 + 2 + 12 * len(tags) + 4
    found = {258: after, 273: after + 2 * bands}
    body = struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        count = bands if tag == 258 else 1
        cell = struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else None
        body += struct.pack(f"{order}HHI", tag, kind, count) + (cell or struct.pack(f"{order}I", found.get(tag, value)))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + body + bytes(4) + struct.pack(f"{order}{bands}H", *[16] * bands) + pixels


def said(content: bytes) -> list[str]:
    found: list[str] = []
    open_image(content, name="a", notice=lambda name, oddity: found.append(oddity))
    return found


COLOURS = np.random.default_rng(0).integers(0, 4096, (8, 8, 3))


@pytest.mark.parametrize("write", [wide_png, wide_tiff, lambda values: wide_tiff(values, ">")], ids=["png", "II", "MM"])
def test_16_bit_colours_that_fill_their_range_are_divided_by_it(write) -> None:
    assert said(write(COLOURS * 16)) == []
    assert np.asarray(open_image(write(COLOURS * 16))).tolist() == (COLOURS * 16 // 256).tolist()


def test_a_fourth_band_that_is_no_transparency_is_warned_of() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (8, 8, 4))
    assert said(wide_tiff(values)) == [FOURTH_BAND]


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "PNG"])
def test_further_pages_and_frames_are_warned_of(form: str) -> None:
    first, *rest = [picture(number, 0) for number in range(3)]
    stream = BytesIO()
    first.save(stream, form, save_all=True, append_images=rest)
    assert said(stream.getvalue()) == [FRAMES]
    stream = BytesIO()
    first.save(stream, form)
    assert said(stream.getvalue()) == []


def test_data_warn_once_of_each_oddity_and_the_check_lists_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_pictures(tmp_path, ("cat", "dog"), 3)
    for name in ("cat/a.tif", "cat/b.tif", "dog/c.tif"):
        (tmp_path / name).write_bytes(wide_tiff(np.random.default_rng(len(name)).integers(0, 65536, (8, 8, 4))))
    data = load_data(tmp_path)
    for split in (data.train, data.val, data.test):
        for row in range(len(split)):
            split.image(row)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "it has a fourth band" in record.getMessage()
    assert "`acclimate data check DATA` lists all" in record.getMessage()
    (finding,) = [finding for finding in check_data(data).findings if finding.kind == "read_in_part"]
    assert finding.examples == (("cat/a.tif",), ("cat/b.tif",), ("dog/c.tif",))


# ---------------------------------------------------------------- one walker


def test_images_to_predict_are_found_by_the_rules_of_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_pictures(tmp_path / "set", ("cat", "dog"), 2)
    for folder in ("@eaDir", "__MACOSX", ".ipynb_checkpoints"):
        make_pictures(tmp_path / "set" / folder, ("cat",), 1)
    (tmp_path / "set/cat/again").symlink_to(tmp_path / "set", target_is_directory=True)
    (tmp_path / "set/dog/itself.png").symlink_to("itself.png")
    (tmp_path / "set/dog/x.cr2").write_bytes(b"")
    data = load_data(tmp_path / "set")
    found = [Path(str(path)).relative_to(tmp_path / "set").as_posix() for path in find_images([tmp_path / "set"])]
    assert found == data.keys == ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png"]
    assert (
        "2 files are not read: 1 link to nowhere (bring back what is pointed to), 1 raw" in caplog.text.splitlines()[-1]
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.cr2").write_bytes(b"")
    with pytest.raises(DataError, match=r"no image in this folder .*; found 1 raw photograph \(convert"):
        list(find_images([tmp_path / "other"]))

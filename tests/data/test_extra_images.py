"""HEIC and DICOM, through the extras: what is seen of them, and what is said where they cannot be read."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from acclimate.data import check_data, load_data, open_image
from acclimate.data.finding import find_images
from acclimate.data.levels import grey_levels
from acclimate.errors import DataError
from tests.helpers.dicom import dicom
from tests.helpers.extras import hide_extras
from tests.helpers.pictures import make_pictures, picture

HOUNSFIELD = np.random.default_rng(0).integers(-1000, 2000, (24, 32))


def read(content: bytes, **options: object) -> np.ndarray:
    return np.asarray(open_image(content, **options))[..., 0].astype(int)


def test_a_window_lies_over_the_values_of_the_modality() -> None:
    rescaled = {"RescaleSlope": "2", "RescaleIntercept": "-1024"}
    stored = ((HOUNSFIELD + 1024) // 2).astype(np.uint16)
    found = read(dicom(stored, WindowCenter=["40", "600"], WindowWidth=["400", "2800"], **rescaled))
    units = stored * 2.0 - 1024
    wanted = np.select(
        [units <= 40 - 0.5 - 199.5, units > 40 - 0.5 + 199.5], [0, 255], ((units - 39.5) / 399 + 0.5) * 255
    )
    assert np.abs(found - wanted).max() <= 0.5
    assert found.min() == 0
    assert found.max() == 255
    exact = read(dicom(stored, WindowCenter="40", WindowWidth="400", VOILUTFunction="LINEAR_EXACT", **rescaled))
    assert np.abs(exact - np.clip((units - 40) / 400 + 0.5, 0, 1) * 255).max() <= 0.5
    soft = read(dicom(stored, WindowCenter="40", WindowWidth="400", VOILUTFunction="SIGMOID", **rescaled))
    assert np.abs(soft - 255 / (1 + np.exp(-4 * (units - 40) / 400))).max() <= 0.5


def test_monochrome_1_is_inverted() -> None:
    window = {"WindowCenter": "300", "WindowWidth": "600"}
    stored = HOUNSFIELD.astype(np.int16)
    assert (read(dicom(stored, "MONOCHROME1", **window)) == 255 - read(dicom(stored, **window))).all()
    assert (read(dicom(stored, "MONOCHROME1")) == 255 - read(dicom(stored))).all()


def test_without_a_window_the_rules_of_wide_grey_hold_and_padding_is_black() -> None:
    stored = HOUNSFIELD.astype(np.int16)
    assert (read(dicom(stored)) == grey_levels(stored)).all()
    small = (stored % 200).astype(np.uint8)
    assert (read(dicom(small)) == small).all()
    padded = np.where(np.arange(32) < 8, -2000, stored).astype(np.int16)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        found = read(dicom(padded, photometric, PixelPaddingValue=-2000))
        assert not found[:, :8].any()
        levels = grey_levels(padded[:, 8:])
        assert (found[:, 8:] == (levels if photometric == "MONOCHROME2" else 255 - levels)).all()


def test_a_table_of_values_of_interest() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], (65535 - 257 * np.arange(256)).astype("<u2").tobytes()
    stored = (HOUNSFIELD % 256).astype(np.uint16)
    assert (read(dicom(stored, VOILUTSequence=Sequence([table]))) == 255 - stored).all()


def test_colours() -> None:
    pixels = np.asarray(picture(0, 0))
    assert (np.asarray(open_image(dicom(pixels, "RGB"))) == pixels).all()
    assert (np.asarray(open_image(dicom(pixels, "RGB"), bands=(3, 2, 1))) == pixels[..., ::-1]).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            dicom(np.zeros((3, 8, 8), np.uint8), NumberOfFrames=3),
            "it is a DICOM file of 3 frames, and only files of one",
        ),
        (dicom(np.zeros((8, 8), np.uint8))[:300], "damaged|pixels|DICOM"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC photograph that is damaged"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        open_image(tmp_path / "a.dcm")
    assert str(caught.value).startswith(f"cannot read image {str(tmp_path / 'a.dcm')!r}: ")
    assert "\n" not in str(caught.value)


def heic(image: Image.Image, **options: object) -> bytes:
    stream = BytesIO()
    pillow_heif.from_pillow(image).save(stream, **{"quality": 95} | options)
    return stream.getvalue()


def test_heic_is_read_under_any_name_and_upright(tmp_path: Path) -> None:
    image = picture(0, 0, size=(64, 48), noise=0)
    (tmp_path / "a.jpg").write_bytes(heic(image))
    for source in (tmp_path / "a.jpg", heic(image)):
        assert np.abs(np.asarray(open_image(source)).astype(int) - np.asarray(image)).mean() < 12
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(heic(image, exif=exif.tobytes())).size == (48, 64)


def test_a_folder_of_both_is_data_with_the_extras_and_named_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_pictures(tmp_path, ("cat", "dog"), 2)
    for name, content in {
        "phone/a.HEIC": heic(picture(1, 0)),
        "phone/b.heif": heic(picture(1, 1)),
        "scan/a.dcm": dicom(HOUNSFIELD.astype(np.int16)),
        "scan/b.dcm": dicom(HOUNSFIELD.T.astype(np.int16).copy()),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    data = load_data(tmp_path)
    assert data.class_names == ("cat", "dog", "phone", "scan")
    assert len(list(find_images([tmp_path / "scan"]))) == 2
    report = {finding.kind: finding for finding in check_data(data).findings}
    assert report["stretched"].examples == (("scan/a.dcm",), ("scan/b.dcm",))
    assert "corrupt" not in report
    hide_extras(monkeypatch)
    caplog.clear()
    assert load_data(tmp_path).class_names == ("cat", "dog")
    assert "no class 'phone' is read" in caplog.text
    assert "2 DICOM images (`pip install 'acclimate[dicom]'`, or convert to PNG or JPEG)" in caplog.text
    with pytest.raises(DataError, match=r"scan/a\.dcm.*DICOM image \(`pip install 'acclimate\[dicom\]'`"):
        open_image(tmp_path / "scan/a.dcm")

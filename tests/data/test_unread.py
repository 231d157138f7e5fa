"""Files that stand for images and are not read: nothing of a source vanishes without a word."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from acclimate.data import check_data, load_data, open_image
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import DataError
from tests.helpers.extras import hide_extras
from tests.helpers.pictures import make_pictures, make_split_pictures


@pytest.fixture(autouse=True)
def _without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_extras(monkeypatch)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"


def unreadable(folder: Path) -> Path:
    """Fill a folder with nine files of which none can be read."""
    folder.mkdir(parents=True)
    (folder / "a.HEIC").write_bytes(HEIC)
    (folder / "b.dcm").write_bytes(bytes(128) + b"DICM")
    (folder / "c.nii.gz").write_bytes(b"\x1f\x8b")
    (folder / "d.npy").write_bytes(b"\x93NUMPY\x01\x00")
    (folder / "e").write_bytes(bytes(128) + b"DICM")
    (folder / "f").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "g.jpg").symlink_to("../.git/annex/objects/Xx/SHA256E-s1--4d7a.jpg")
    (folder / "h.png").symlink_to("/somewhere/.dvc/cache/files/md5/4d/7a")
    (folder / "notes.txt").write_text("x")
    return folder


KINDS = (
    "2 DICOM images (`pip install 'acclimate[dicom]'`, or convert to PNG or JPEG), 1 HEIC photograph (`pip install "
    "'acclimate[heif]'`, or convert to PNG or JPEG), 1 volume (save the slices as PNG), 1 array (save the images in "
    "them as PNG), 1 image without the ending of one (rename, such as to .jpg or .dcm), 1 file of git-annex that is "
    "not here (run `git annex get`), 1 file of DVC that is not here (run `dvc pull`), 1 other file"
)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_class_without_an_image_is_named_with_its_files_and_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_pictures(tmp_path / "set", ("cat", "dog"), 6)
    unreadable(tmp_path / "set" / "phone")
    data = load_data(tmp_path / "set")
    assert data.class_names == ("cat", "dog")
    text = f"no class 'phone' is read, for there is no image in the folder; its 9 files are not read: {KINDS}"
    assert warnings(caplog) == [f"set: {text}"]
    (remark,) = data.remarks
    assert (remark.level, remark.kind, remark.text, remark.names) == ("error", "lost_class", text, ("phone",))
    report = check_data(data)
    assert not report.ok
    assert [finding.message for finding in report.findings if finding.kind == "lost_class"] == [text]


def test_an_empty_class_is_a_warning(tmp_path: Path) -> None:
    make_pictures(tmp_path, ("cat", "dog"), 6)
    (tmp_path / "phone" / "inside").mkdir(parents=True)
    (remark,) = load_data(tmp_path).remarks
    assert remark.level == "warning"
    assert remark.text == "no class 'phone' is read, for there is no image in the folder; it is empty"


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("test", "no split 'test' is read, for"),
        ("train/phone", "no class 'phone' is read in train, for"),
        ("extra", "no folder 'extra' is read, for"),
    ],
)
def test_splits_and_classes_in_them_vanish_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: str, words: str
) -> None:
    make_split_pictures(tmp_path / "set", splits={"train": 3, "val": 3})
    unreadable(tmp_path / "set" / lost)
    load_data(tmp_path / "set")
    assert any(words in text and "2 DICOM images" in text for text in warnings(caplog))


def test_domains_vanish_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_split_pictures(tmp_path / "set", splits={"photo": 3, "sketch": 3})
    unreadable(tmp_path / "set" / "art" / "cat")
    assert load_data(tmp_path / "set").domain_names == ("photo", "sketch")
    assert [text for text in warnings(caplog) if "no domain 'art' is read, for" in text and "its 9 files" in text]


def test_some_of_a_class_vanish_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_pictures(tmp_path / "set", ("cat", "dog"), 6)
    (tmp_path / "set" / "cat" / "a.heic").write_bytes(HEIC)
    (tmp_path / "set" / "dog" / "b.heic").write_bytes(HEIC)
    (tmp_path / "set" / "dog" / "c.txt").write_text("x")
    data = load_data(tmp_path / "set")
    what = "2 HEIC photographs (`pip install 'acclimate[heif]'`, or convert to PNG or JPEG)"
    text = f"2 files are not read: {what}: cat/a.heic, dog/b.heic"
    assert warnings(caplog) == [f"set: {text}"]
    assert text in [finding.message for finding in check_data(data).findings]
    assert load_unlabelled(tmp_path / "set", layout="plain").remarks[0].text == text


def test_a_folder_of_nothing_that_can_be_read_says_why(tmp_path: Path) -> None:
    unreadable(tmp_path / "set" / "cat")
    with pytest.raises(
        DataError, match=r"no images in this folder \(2 DICOM images \(`pip install 'acclimate\[dicom\]'`, or convert"
    ):
        load_data(tmp_path / "set")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LFS, "pointer of Git LFS (run `git lfs pull`)"),
        (b"/annex/objects/SHA256E-s1--4d7a.jpg\n", "file of git-annex that is not here (run `git annex get`)"),
        (HEIC, "HEIC photograph (`pip install 'acclimate[heif]'`, or convert to PNG or JPEG)"),
        (bytes(128) + b"DICM", "DICOM image (`pip install 'acclimate[dicom]'`, or convert to PNG or JPEG)"),
        (b"<!DOCTYPE html><html>no such page", "web page (download the images again)"),
    ],
)
def test_what_is_no_image_under_its_ending_is_called_by_its_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, reason: str
) -> None:
    make_pictures(tmp_path / "set", ("cat", "dog"), 6)
    make_pictures(tmp_path / "set", ("phone",), 2)
    for file in (tmp_path / "set" / "phone").iterdir():
        file.write_bytes(content)
    for source in (file, content):
        with pytest.raises(DataError) as caught:
            open_image(source)
        assert f"it is no image that can be read: {reason};" in str(caught.value)
    assert load_data(tmp_path / "set", on_corrupt="skip").class_names == ("cat", "dog")
    assert reason in warnings(caplog)[0]
    assert "no image is left of the classes phone" in warnings(caplog)[1]


def test_skipping_names_splits_and_domains_of_which_nothing_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_split_pictures(tmp_path / "set", splits={"train": 3, "test": 3})
    for file in (tmp_path / "set" / "test").rglob("*.png"):
        file.write_bytes(LFS)
    load_data(tmp_path / "set", on_corrupt="skip")
    assert any("no image is left of the splits test" in text for text in warnings(caplog))


def test_rows_of_a_manifest_that_name_such_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_pictures(tmp_path, ("cat", "dog"), 1)
    unreadable(tmp_path / "phone")
    rows = ["path,label", "cat/000.png,cat", "dog/000.png,dog", "phone/a.HEIC,phone", "phone/b.dcm,phone"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    data = load_data(tmp_path)
    assert (
        "2 rows name files that are not read: 1 HEIC photograph (`pip install 'acclimate[heif]'`, or convert to PNG or "
        in warnings(caplog)[0]
    )
    with pytest.raises(DataError, match="HEIC photograph"):
        data.image(data.keys.index("phone/a.HEIC"))
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "phone/g.jpg,phone"]))
    with pytest.raises(
        DataError, match=r"row 6: no such image 'phone/g.jpg', only a file of git-annex .*`git annex get`"
    ):
        load_data(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_are_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_pictures(tmp_path / "set", ("cat", "dog"), 3)
    os.mkfifo(tmp_path / "set" / "cat" / "pipe.png")
    data = load_data(tmp_path / "set")
    assert len(data) == 6
    assert "1 pipe, socket or device (put a file in its place): cat/pipe.png" in warnings(caplog)[0]
    with pytest.raises(DataError, match="it is a pipe, a socket or a device, not a file"):
        open_image(tmp_path / "set" / "cat" / "pipe.png")
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(DataError, match="it is a pipe, a socket or a device"):
        load_data(tmp_path / "labels.csv")

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from acclimate.data import CheckReport, Finding, check_data, load_data
from acclimate.data.check import duplicates
from acclimate.data.check.duplicates import close
from acclimate.data.check.shortcuts import explains
from acclimate.errors import DataError
from tests.helpers.real_data import real_set


def scene(seed: int, side: int = 64) -> Image.Image:
    """Smooth random shapes, each seed unlike the others."""
    noise = np.random.default_rng(seed).random((side, side, 3)) * 255
    blurred = Image.fromarray(noise.astype(np.uint8)).filter(ImageFilter.GaussianBlur(side / 12))
    values = np.asarray(blurred).astype(float)
    return Image.fromarray(((values - values.min()) / np.ptp(values) * 255).astype(np.uint8))


def tree(root: Path, classes: int = 2, count: int = 12) -> Path:
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(count):
            scene(100 * label + number).save(root / f"class{label}" / f"{number:02d}.png")
    return root


def found(report: CheckReport) -> dict[str, Finding]:
    assert all("\n" not in finding.message for finding in report.findings)
    return {finding.kind: finding for finding in report.findings}


def test_clean_data_have_no_errors_or_warnings(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = check_data(tree(tmp_path / "set"), progress=lambda done, total: calls.append((done, total)))
    assert report.ok
    assert report.count("error") == report.count("warning") == 0, report.findings
    assert (report.name, report.pictures, report.split_origin) == ("set", 24, "made")
    assert report.classes == {"class0": 12, "class1": 12}
    assert sum(report.splits.values()) == 24
    assert report.statistics["width"]["median"] == 64
    assert calls[-1] == (24, 24)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["ok"] is True
    assert plain["classes"] == report.classes


def test_corrupt_blank_tiny_and_other_files(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "class0" / "00.png").write_bytes((root / "class0" / "00.png").read_bytes()[:300])
    (root / "class0" / "01.png").write_bytes(b"")
    Image.new("RGB", (64, 64), (9, 9, 9)).save(root / "class1" / "00.png")
    scene(77, 20).save(root / "class1" / "01.png")
    (root / "class1" / "notes.txt").write_text("x")
    (root / "class1" / "notes").write_text("x")
    report = check_data(root)
    kinds = found(report)
    assert not report.ok
    assert kinds["corrupt"].level == "error"
    assert kinds["corrupt"].count == 2
    assert [example[0] for example in kinds["corrupt"].examples] == ["class0/00.png", "class0/01.png"]
    assert "truncated" in kinds["corrupt"].examples[0][1]
    assert kinds["blank"].examples == (("class1/00.png",),)
    assert kinds["tiny_pictures"].examples == (("class1/01.png",),)
    assert kinds["other_files"].message.count("1 x .txt") == 1
    assert [finding.level for finding in report.findings] == sorted(
        (finding.level for finding in report.findings), key=["error", "warning", "info"].index
    )
    skipping = found(check_data(root, on_corrupt="skip"))
    assert skipping["skipped"].count == 2
    assert "corrupt" not in skipping


def test_nothing_decodable_at_all(tmp_path: Path) -> None:
    root = tree(tmp_path, count=2)
    for file in root.rglob("*.png"):
        file.write_text("x")
    assert found(check_data(root))["corrupt"].count == 4


def manifest(root: Path, rows: list[tuple[str, Image.Image | str, str, str, str]]) -> Path:
    """Write pictures (or copies of earlier ones) and their labels: name, picture, label, split, group."""
    root.mkdir(parents=True, exist_ok=True)
    for name, picture, *_ in rows:
        if isinstance(picture, str):
            shutil.copy(root / picture, root / name)
        else:
            picture.save(root / name, **({"quality": 80} if name.endswith("jpg") else {}))
    lines = [f"{name},{label},{split},{group}" for name, _, label, split, group in rows]
    (root / "labels.csv").write_text("path,label,split,group\n" + "\n".join(lines) + "\n")
    return root


def test_exact_duplicates_by_where_they_lie(tmp_path: Path) -> None:
    base = [(f"{n}.png", scene(n), "ab"[n % 2], "test" if n > 7 else "train", "") for n in range(12)]
    rows = [
        *base,
        ("leak.png", "0.png", "a", "test", ""),
        ("conflict.png", "1.png", "a", "train", ""),
        ("harmless.png", "2.png", "a", "train", "g"),
    ]
    report = check_data(manifest(tmp_path, rows))
    kinds = found(report)
    assert kinds["duplicate_across_splits"].level == "error"
    assert kinds["duplicate_across_splits"].examples == (("0.png", "leak.png"),)
    assert "correct the given split" in kinds["duplicate_across_splits"].message
    assert kinds["duplicate_with_different_labels"].level == "error"
    assert kinds["duplicate_with_different_labels"].examples == (("1.png", "conflict.png"),)
    assert kinds["duplicate_within_split"].level == "info"
    assert kinds["duplicate_within_split"].examples == (("2.png", "harmless.png"),)
    assert not any(kind.startswith("near") for kind in kinds)


def test_near_duplicates_also_mirrored_and_protected_by_groups(tmp_path: Path) -> None:
    pictures = [scene(n, 96) for n in range(12)]
    base = [
        (f"{n:02d}.png", pictures[n], "ab"[n % 2], "test" if n > 7 else "train", "g" if n == 3 else "")
        for n in range(12)
    ]
    mirrored = pictures[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    rows = [
        *base,
        ("again.jpg", pictures[0].resize((64, 64)), "a", "test", ""),
        ("mirror.jpg", mirrored, "a", "train", ""),
        ("darker.png", pictures[3].point(lambda value: 0.9 * value), "b", "train", "g"),
    ]
    kinds = found(check_data(manifest(tmp_path, rows)))
    assert kinds["near_duplicate_across_splits"].examples == (("00.png", "again.jpg"),)
    assert kinds["near_duplicate_across_splits"].level == "warning"
    assert kinds["near_duplicate_with_different_labels"].examples == (("01.png", "mirror.jpg"),)
    assert "1 of them mirrored or turned" in kinds["near_duplicate_with_different_labels"].message
    assert kinds["near_duplicate_within_split"].examples == (("03.png", "darker.png"),)
    assert "1 of them share a group" in kinds["near_duplicate_within_split"].message


def test_flat_pictures_are_not_called_alike(tmp_path: Path) -> None:
    root = tree(tmp_path)
    for number in range(5):
        Image.new("L", (64, 64), 40 * number).save(root / "class0" / f"flat{number}.png")
    assert not any("duplicate" in kind for kind in found(check_data(root)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30), st.integers(0, 2**32))
def test_close_finds_exactly_the_pairs_within_the_radius(seeds: list[int], noise: int) -> None:
    rng = np.random.default_rng(noise)
    flips = [int(sum(1 << int(bit) for bit in rng.choice(64, rng.integers(0, 8), replace=False))) for _ in range(60)]
    hashes = np.array([seeds[n % len(seeds)] ^ flip for n, flip in enumerate(flips)], dtype=np.uint64)
    first, second = close(hashes, hashes)
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    assert pairs == {(int(i), int(j)) for i, j in zip(*np.nonzero(distance <= 4), strict=True) if i < j}


def test_close_is_quick_for_many() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64)
    hashes[1] = hashes[0] ^ np.uint64(0b1011)
    start = time.process_time()
    first, second = close(hashes, hashes)
    assert (0, 1) in set(zip(first.tolist(), second.tolist(), strict=True))
    assert time.process_time() - start < 8


def test_close_stops_when_nearly_everything_is_alike(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 2_000)
    first, _ = close(np.zeros(100, np.uint64), np.zeros(100, np.uint64))
    assert 2_000 < len(first) <= 100 * 99 // 2
    assert "more than 2000 pairs look alike" in caplog.text


# ---------------------------------------------------------------- classes and splits


def test_tiny_uneven_and_misspelt_classes(tmp_path: Path) -> None:
    counts = {"bare land": 20, "BareLand": 3, "lonely": 1, "river": 12}
    numbers = iter(range(1000))
    rows = [
        (f"{label}{n}.png", scene(next(numbers)), label, "", "")
        for label, count in counts.items()
        for n in range(count)
    ]
    report = check_data(manifest(tmp_path, rows))
    kinds = found(report)
    assert kinds["single_picture"].level == "error"
    assert kinds["single_picture"].examples == (("lonely",),)
    assert kinds["few_pictures"].examples == (("BareLand",),)
    assert kinds["imbalance"].level == "warning"
    assert "20.0 times" in kinds["imbalance"].message
    assert kinds["spelling"].examples == (("BareLand", "bare land"),)
    assert kinds["absent_from_test"].examples == (("lonely",),)


def test_splits_that_lack_classes_and_groups_that_are_torn(tmp_path: Path) -> None:
    rows = [(f"{n}.png", scene(n), "ab"[n % 2], "train" if n % 2 else "test", "g" if n < 2 else "") for n in range(12)]
    kinds = found(check_data(manifest(tmp_path / "x", rows)))
    assert kinds["absent_from_train"].level == "error"
    assert kinds["absent_from_train"].examples == (("a",),)
    assert kinds["absent_from_test"].examples == (("b",),)
    assert kinds["group_across_splits"].level == "error"
    rows = [(*row[:3], "train" if n % 3 else "val", "") for n, row in enumerate(rows)]
    assert found(check_data(manifest(tmp_path / "y", rows)))["no_test"].level == "warning"
    rows = [(*row[:3], "test", "") for row in rows]
    assert found(check_data(manifest(tmp_path / "z", rows)))["no_train"].level == "warning"


def test_holes_between_domains_and_classes(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, place in enumerate(["ct/a", "ct/b", "ct/c", "mr/a", "mr/b"]):
        (root / place).mkdir(parents=True)
        for n in range(4):
            scene(10 * number + n).save(root / place / f"{n}.png")
    report = check_data(root)
    assert found(report)["domain_holes"].examples == (("mr", "c"),)
    assert report.domains == {"ct": 12, "mr": 8}


# ---------------------------------------------------------------- shortcuts


def test_file_properties_that_betray_the_label(tmp_path: Path) -> None:
    for n in range(40):
        for label in ("sick", "well"):
            (tmp_path / label).mkdir(exist_ok=True)
            picture = scene(n + 500 * (label == "sick"), 64)
            if label == "sick":
                picture.resize((80, 64)).convert("L").save(tmp_path / label / f"{n}.jpg", quality=60)
            else:
                picture.save(tmp_path / label / f"{n}.jpg", quality=60)
    kinds = found(check_data(tmp_path))
    assert kinds["shortcut"].level == "warning"
    assert "balanced accuracy 1.00 (chance 0.50)" in kinds["shortcut"].message
    assert {name for (name,) in kinds["shortcut"].examples} == {"width", "aspect", "mode"}


def test_a_mode_that_betrays_the_label_is_put_into_words(tmp_path: Path) -> None:
    kinds = ["L", "RGBA", "P", "I;16"]
    for n in range(15):
        for place, mode in enumerate(kinds):
            (tmp_path / mode).mkdir(exist_ok=True)
            picture = scene(n + 100 * place)
            if mode == "I;16":
                picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
            elif mode == "RGBA":
                picture.putalpha(200)
            else:
                picture = picture.convert(mode)
            picture.save(tmp_path / mode / f"{n}.png")
    report = check_data(tmp_path)
    message = found(report)["shortcut"].message
    assert "100% " in message
    assert report.statistics["mode"]["explains"] > 0.9
    assert report.statistics["mode"]["share"] == 0.25


def test_appearance_is_mentioned_and_warned_of_only_when_strong(tmp_path: Path) -> None:
    for n in range(40):
        for place, label in enumerate(("dark", "bright")):
            (tmp_path / label).mkdir(exist_ok=True)
            values = np.asarray(scene(n + 500 * place)).astype(float) * 0.4 + 140 * place
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / label / f"{n}.png")
    kinds = found(check_data(tmp_path))
    assert kinds["appearance"].level == "warning"
    assert "median brightness" in kinds["appearance"].message
    assert "shortcut" not in kinds


def test_sizes_at_random_are_no_shortcut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in range(40):
        for label in ("a", "b"):
            (tmp_path / label).mkdir(exist_ok=True)
            scene(n + 500 * (label == "b"), int(rng.integers(40, 90))).save(tmp_path / label / f"{n}.png")
    assert not {"shortcut", "appearance"} & set(found(check_data(tmp_path)))


def test_explained_share_of_the_label() -> None:
    labels = np.repeat([0, 1], 500)
    noise = np.random.default_rng(0).random(1000)
    assert explains(labels.astype(float), labels, discrete=True) == pytest.approx(1, abs=0.01)
    assert explains(noise, labels, discrete=False) < 0.01
    assert 0.1 < explains(noise + labels, labels + 0, discrete=False) <= 1
    assert explains(noise, np.zeros(1000, int), discrete=False) == 0


def test_rotated_photographs_are_measured_upright(tmp_path: Path) -> None:
    root = tree(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(1).resize((90, 60)).save(root / "class0" / "turned.jpg", exif=exif)
    report = check_data(root)
    assert report.statistics["height"]["high"] == 90
    assert report.statistics["width"]["low"] == 60


# ---------------------------------------------------------------- sources


def test_loaded_data_and_data_that_cannot_load(tmp_path: Path) -> None:
    data = load_data(tree(tmp_path / "set"))
    assert check_data(data).pictures == 24
    with pytest.raises(DataError, match="no such file or folder"):
        check_data(tmp_path / "none")


@pytest.mark.slow
def test_real_data_chest_xray() -> None:
    report = check_data(real_set("chest_xray"))
    kinds = found(report)
    assert report.ok
    # Different patients look alike to a perceptual hash; they are not duplicates.
    assert not any("duplicate" in kind for kind in kinds)
    assert "bytes_per_pixel" in kinds["appearance"].message


@pytest.mark.slow
def test_real_data_lithology() -> None:
    kinds = found(check_data(real_set("lithology")))
    assert "balanced accuracy" in kinds["imbalance"].message

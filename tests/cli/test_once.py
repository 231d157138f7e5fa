"""What a command says, it says once."""

from __future__ import annotations

import pytest

from tests.helpers.benches import entries, write_spec
from tests.helpers.command import QUICK, acclimate
from tests.helpers.pictures import make_pictures, make_split_pictures


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Pictures in folders that give much to warn of."""
    folder = make_pictures(tmp_path_factory.mktemp("odd") / "pictures", ("Basalt", "basalt", "nan"), 8)
    (folder / "phone").mkdir()
    for name in ("phone/1.CR2", "nan/2.CR2"):
        (folder / name).write_bytes(b"0000ftypheic")
    (folder / "notes.txt").write_text("none")
    return folder


def lines(done):
    """The lines of notes and warnings, each of them of its own."""
    found = done.err.splitlines()
    assert len(found) == len(set(found)), done.err
    return found


def saying(words, *texts):
    return [sum(words in line for line in text.splitlines()) for text in texts]


def test_a_check_says_what_is_odd_in_its_report_only(odd):
    done = acclimate("data", "check", odd)
    assert done.code == 1  # a class is lost
    for words in ("no class 'phone' is read", "JPEG): nan/2.CR2", "in several spellings", "not images and"):
        assert saying(words, done.out, done.err) == [1, 0], words
    assert saying("are spelled in several ways", done.out, done.err) == [0, 0]
    assert len(lines(done)) == 2  # the layout and the split


def test_a_run_says_what_is_odd_once(odd, tiny_folders, tmp_path):
    words = ("--backbone", tiny_folders["clip"], "--method", "zero-shot", *QUICK, "--out", tmp_path / "run")
    done = acclimate("adapt", odd, *words)
    for words in ("no class 'phone' is read", "JPEG): nan/2.CR2", "spelled in several ways", "both read"):
        assert saying(words, "\n".join(lines(done))) == [1], words
    assert saying("both read", "\n".join(lines(acclimate("evaluate", tmp_path / "run", odd)))) == [1]


def test_an_evaluation_says_of_splits_what_is_measured(tiny_folders, tmp_path):
    """A split is made as data are loaded; where the run has one of its own, that is no news."""
    data, other = make_pictures(tmp_path / "data", per_class=5), make_pictures(tmp_path / "other", per_class=6, noise=9)
    words = ("--backbone", tiny_folders["clip"], "--method", "zero-shot", *QUICK, "--out", tmp_path / "run")
    assert saying("a split is made", acclimate("adapt", data, *words).err) == [1]
    told = {
        (folder, split): "\n".join(lines(acclimate("evaluate", tmp_path / "run", folder, "--split", split)))
        for folder in (data, other)
        for split in ("auto", "test")
    }
    assert saying("a split is made", *told.values()) == [0, 0, 0, 1]
    assert saying("is kept", *told.values()) == [0, 1, 0, 0]


def test_no_test_images_are_told_once_as_a_warning(tiny_folders, tmp_path):
    data = make_split_pictures(tmp_path / "data", splits={"train": 3, "val": 2})
    words = ("--backbone", tiny_folders["clip"], "--method", "zero-shot", *QUICK, "--out", tmp_path / "run")
    done = acclimate("adapt", data, *words)
    assert saying("no test images", "\n".join(lines(done))) == [1]


def test_a_bench_says_it_once_for_all_backbones_and_suites(tiny_folders, tmp_path):
    make_pictures(tmp_path / "animals", ("Basalt", "basalt", "cat", "dog"), 8)
    suites = [{"protocol": "few-shot", "data": "animals", "shots": shots} for shots in (100, 90)]
    suites.append({"protocol": "base-to-novel", "data": "animals", "shots": 100})
    content = entries("animals", tiny_folders["clip"], suites=suites)
    content["backbones"] = [str(tiny_folders[name]) for name in ("clip", "siglip")]
    done = acclimate("bench", write_spec(tmp_path / "spec.yaml", content), "--dry-run", "--device", "cpu")
    assert done.code == 0, done.err
    found = "\n".join(lines(done))
    assert saying("spelled in several ways", found) == [1]
    assert saying("4 classes have fewer than 100 images", found) == [1]

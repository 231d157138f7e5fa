"""Images that a domain encoder has seen in its pretraining, or that a warm start goes back to, are not measured."""

from __future__ import annotations

import json
import shutil

import pytest

import acclimate
from acclimate.data import load_data
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import DataError, RunError
from acclimate.runs import choose_evaluation_images
from acclimate.runs.classifiers import pretrain_classifier
from acclimate.runs.pretraining import pretrain_mae
from tests.helpers.pictures import make_pictures, make_split_pictures
from tests.helpers.runs import QUICK, quick
from tests.helpers.tiny_mae import SMALL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures without a split of their own."""
    return make_pictures(tmp_path_factory.mktemp("seen") / "data", per_class=10)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory, folder):
    """Folders of encoders that were pretrained on parts of the pictures."""
    root = tmp_path_factory.mktemp("seen") / "encoders"
    settings = {"settings": {**SMALL, "epochs": 0}, "domain": "natural", "device": "cpu"}
    for part in ("train", "train+val", "all"):
        pretrain_mae(load_unlabelled(folder), root / part, split=part, **settings)
    pretrain_mae(load_unlabelled(folder, split_seed=3), root / "other-seed", **settings)
    return root


def probe(data, backbone, encoder, **options):
    options = {"method": "domain-linear-probe", "settings": {}, "domain_encoder": encoder, **options}
    return quick(data, backbone, **options)


def refusal(*arguments, **options):
    with pytest.raises(DataError) as caught:
        probe(*arguments, **options)
    return str(caught.value)


def keys_of(data, digests):
    return {data.keys[row] for row in range(len(data)) if data.digest(row) in digests}


def test_an_encoder_of_another_split_is_refused_before_anything_is_written(folder, encoders, tiny, tmp_path):
    data = load_data(folder)
    learned = set((encoders / "other-seed/images.txt").read_text().split())
    known = keys_of(data.test, learned)
    assert known  # else there is nothing to refuse
    words = refusal(data, tiny, encoders / "other-seed", out=tmp_path / "run")
    assert words == (
        f"data: `domain_encoder='{encoders / 'other-seed'}'` has learned from {len(known)} of the {len(data.test)} "
        f"test images, such as {min(known)}; name another one, or give the data the split that it was made with "
        "(`split_seed=3`)"
    )
    assert not (tmp_path / "run").exists()
    probe(load_data(folder, split_seed=3), tiny, encoders / "other-seed")  # as the message says
    count = len(data.test)
    words = refusal(data, tiny, encoders / "all")
    assert f"has learned from {count} of the {count} test images" in words
    assert words.endswith("; name another one, for it has learned from all images of its data")  # no split would do


def test_copies_are_known_by_their_bytes(folder, encoders, tiny, tmp_path):
    for place in folder.rglob("*.png"):
        (tmp_path / "copy" / place.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(place, tmp_path / "copy" / place.parent.name / f"copy-{place.name}")
    moved = shutil.copytree(encoders / "all", tmp_path / "moved")
    assert "has learned from" in refusal(load_data(tmp_path / "copy"), tiny, moved)


def test_the_training_part_is_fine_and_validation_images_are_a_warning(folder, encoders, tiny, caplog):
    data = load_data(folder)
    probe(data, tiny, encoders / "train")
    assert "has learned from" not in caplog.text
    assert "cannot be checked" not in caplog.text
    probe(data, tiny, encoders / "train+val")
    validation = min(4, len(data.val) // 3) * 3
    assert f"has learned from {validation} of the {validation} validation images" in caplog.text


def test_one_that_is_not_read_does_not_matter(folder, encoders, tiny):
    quick(load_data(folder), tiny, domain_encoder=encoders / "all")


def test_encoders_of_an_earlier_version_and_of_others(folder, encoders, tiny, domain_folder, tmp_path, caplog):
    data = load_data(folder)
    with caplog.at_level("INFO", "acclimate"):
        probe(data, tiny, domain_folder)
        assert "cannot be checked" not in caplog.text  # nobody says that it was pretrained on anything
        earlier = shutil.copytree(encoders / "all", tmp_path / "earlier")
        (earlier / "images.txt").unlink()
        probe(data, tiny, earlier)
    assert caplog.text.count("whether it has seen test images cannot be checked; give the command of its") == 1


@pytest.mark.parametrize("damage", ["cut", "other", "words"])
def test_a_damaged_list_is_named(folder, encoders, tiny, tmp_path, damage):
    copy = shutil.copytree(encoders / "train", tmp_path / "copy")
    lines = (copy / "images.txt").read_text().split()
    damaged = {"cut": lines[1:], "other": ["0" * 64], "words": ["what is this?"]}[damage]
    (copy / "images.txt").write_text("\n".join(damaged))
    with pytest.raises(RunError, match=r"images\.txt .*restore the file") as caught:
        probe(load_data(folder), tiny, copy)
    assert "\n" not in str(caught.value)


def test_evaluation_leaves_out_what_the_encoder_has_seen(folder, encoders, tiny, tmp_path, caplog):
    other = load_data(make_split_pictures(tmp_path / "other", noise=60.0))
    model = probe(other, tiny, encoders / "other-seed", out=tmp_path / "run")  # has seen none of these
    data = load_data(folder)
    learned = set((encoders / "other-seed/images.txt").read_text().split())
    caplog.set_level("INFO", "acclimate")
    chosen = choose_evaluation_images(tmp_path / "run", data, "auto", model.method.domain_encoder)
    assert f"data: measuring on the rest, {len(chosen)} images" in caplog.text
    assert "is new to this run" not in caplog.text
    assert {*chosen.keys} == {*data.keys} - keys_of(data, learned)
    assert len(chosen) == len(data) - len(learned)
    assert f"{len(learned)} images that `domain_encoder=" in caplog.text
    caplog.clear()
    everything = choose_evaluation_images(tmp_path / "run", data, "all", model.method.domain_encoder)
    assert len(everything) == len(data)
    assert f"has seen {len(learned)} of the {len(data)} images that are measured" in caplog.text


def test_a_split_that_is_asked_for_says_what_of_it_the_run_has_seen(pictures, run, caplog):
    """`test` of another split may be what the run has learned from."""
    swapped = pictures.with_splits([{"train": "test", "test": "train"}.get(s, s) for s in pictures.splits], "given")
    choose_evaluation_images(run.folder, swapped, "test")
    assert "animals: the run has seen 12 of the 18 images that are measured" in caplog.text
    caplog.clear()
    choose_evaluation_images(run.folder, pictures, "test")
    choose_evaluation_images(run.folder, pictures, "train")
    assert not caplog.text


def test_a_warm_start_knows_what_the_runs_before_have_seen(run, pictures, tiny, tmp_path):
    """The third run may not be measured on what the first has learned from, wherever the first is now."""
    other = load_data(make_split_pictures(tmp_path / "other", noise=40.0))
    idle = {"settings": {**QUICK, "epochs": 1}}
    quick(other, tiny, start=run.folder, out=tmp_path / "second", **idle)
    quick(other, tiny, start=run.folder, **idle).save(tmp_path / "saved")
    acclimate.load(tmp_path / "second", tiny).save(tmp_path / "again")
    frozen = json.loads((run.folder / "splits.json").read_text())["splits"]
    seen = {row["sha256"] for name in ("train", "val") for row in frozen[name]}
    swapped = pictures.with_splits([{"train": "test", "test": "train"}.get(s, s) for s in pictures.splits], "given")
    for name in ("second", "saved", "again"):
        assert set((tmp_path / name / "images.txt").read_text().split()) == seen
        assert (tmp_path / name / "splits.json").read_bytes() == (tmp_path / "second/splits.json").read_bytes()
        with pytest.raises(DataError, match=r"has learned from 12 of the 18 test images"):
            quick(swapped, tiny, start=tmp_path / name, **idle)
        assert len(choose_evaluation_images(tmp_path / name, swapped)) == 6
    assert not (run.folder / "images.txt").exists()


def test_a_run_that_is_saved_elsewhere_keeps_its_splits(run, pictures, tiny, tmp_path):
    acclimate.load(run.folder, tiny).save(tmp_path / "moved")
    assert (tmp_path / "moved/splits.json").read_bytes() == (run.folder / "splits.json").read_bytes()
    assert choose_evaluation_images(tmp_path / "moved", pictures).keys == pictures.test.keys


@pytest.fixture(scope="module")
def told(tmp_path_factory, pictures, domain_folder):
    """The folder of an encoder that has learned the labels of the training images."""
    out = tmp_path_factory.mktemp("seen") / "told"
    settings = {"epochs": 1, "batch_size": 8}
    pretrain_classifier(pictures, out, encoder=domain_folder, settings=settings, device="cpu")
    return out


def test_what_knows_the_training_images_is_not_asked_about_images_left_out(told, pictures, tiny, domain_folder):
    """Else its probe is sure where it should not be, new images look strange, and no more labels seem to be needed."""
    shown = probe(pictures, tiny, told).record
    assert shown["calibration"]["held_out"]["source"] == "validation"
    assert shown["calibration"]["known"]["reads"] == "image_features"
    other = probe(pictures, tiny, domain_folder).record
    assert other["calibration"]["held_out"]["source"] == "out-of-fold"
    assert other["calibration"]["known"]["reads"] == "domain_features"


@pytest.mark.parametrize("method", ["kernel-ridge", "auto"])
def test_methods_that_tell_by_images_left_out_do_without_it(told, pictures, tiny, domain_folder, method, caplog):
    settings = {} if method == "auto" else {"tiles": "none"}
    model = quick(pictures, tiny, method=method, settings=settings, domain_encoder=told)
    assert model.method.domain_encoder is None
    assert "has learned the labels of 12 of the 12 training images" in caplog.text
    assert f"{method} does without it" in caplog.text
    assert model.record["calibration"]["held_out"]["source"] == "out-of-fold"
    caplog.clear()
    assert quick(pictures, tiny, method=method, settings=settings, domain_encoder=domain_folder).method.domain_encoder
    assert "does without it" not in caplog.text

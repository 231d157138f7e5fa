"""Several DATA of one `adapt`, as a user types it."""

from __future__ import annotations

import json

import pytest

from tests.helpers.command import acclimate
from tests.helpers.pictures import make_pictures

QUICK = ("--shots", 2, "--device", "cpu", "--set", "epochs=2", "--set", "task_epochs=1", "--set", "rank=1")
CLASSES = {"animals": ("cat", "dog", "river"), "satellite_scenes": ("dog", "forest")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two folders whose split is made, and a run of vitask on both with the embedded model."""
    place = tmp_path_factory.mktemp("several")
    for number, (name, classes) in enumerate(CLASSES.items()):
        make_pictures(place / name, classes, seed=number)
    done = acclimate("adapt", *data(place), "--method", "vitask", "--out", place / "run", *QUICK)
    assert done.code == 0, done.err
    (place / "adapted.txt").write_text(done.out)
    return place


def data(place):
    return [place / name for name in CLASSES]


@pytest.mark.slow
def test_a_row_for_each_set_and_their_mean(place):
    shown = (place / "adapted.txt").read_text()
    first = [line.split()[0] for line in shown.splitlines() if line.strip()]
    assert first[first.index("vitask") + 1 :][:3] == ["animals", "satellite_scenes", "mean"]
    for row in ("vlm-zero-shot", "domain-linear-probe", "task-specific model", "vitask, without exemplar"):
        assert row in shown
    assert f"predict {place / 'run'} NEW_IMAGES --classes-of animals" in shown


@pytest.mark.slow
def test_each_set_again(place):
    record = json.loads((place / "run/record.json").read_text())
    assert record["sets"]["satellite_scenes"]["domain"] == "satellite"
    for folder in data(place):
        found = acclimate("evaluate", place / "run", folder, "--device", "cpu", "--json", "-q").json
        assert found["nll"] == record["tests"][folder.name]["nll"]
        assert found["class_names"] == list(CLASSES[folder.name])


@pytest.mark.slow
def test_labels_of_all_sets_or_of_one(place):
    image = place / "satellite_scenes/forest/000.png"
    told = ("predict", place / "run", image, "--device", "cpu", "--json", "-q")
    assert set(acclimate(*told).json["probabilities"]) == {"cat", "dog", "forest", "river"}
    assert set(acclimate(*told, "--classes-of", "satellite_scenes").json["probabilities"]) == {"dog", "forest"}


@pytest.mark.slow
def test_the_split_of_the_run_is_kept_for_both(place, tmp_path):
    done = acclimate(
        "adapt", *data(place), "--method", "linear-probe", "--split-from", place / "run", "--shots", "all",
        "--split-seed", 7, "--out", tmp_path / "run", "--json", "-q",
    )  # fmt: skip
    assert done.code == 0, done.err
    one, two = (json.loads((run / "splits.json").read_text())["splits"] for run in (place / "run", tmp_path / "run"))
    for name in CLASSES:
        assert [row["key"] for row in one[name]] == [row["key"] for row in two[name]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("animals", "copies/animals"), "two data sets are named 'animals', and results are told apart by name"),
        (("animals", "scenes"), "animals is for classification and scenes is for image-text retrieval"),
        (("animals", "test"), "a data set is named 'test', which is what a split is called here; rename it"),
        (("animals", "sea", "--domain", "sky=satellite"), "--domain names 'sky', and the data are animals, sea"),
        (("animals", "sea", "--domain", "sea="), "--domain sea=: give one domain, or NAME=DOMAIN of several DATA"),
    ],
)
def test_what_does_not_fit_together(tmp_path, caption_folder, words, message):
    for name in ("animals", "copies/animals", "test", "sea"):
        make_pictures(tmp_path / name, per_class=4, size=(8, 8))
    folders = [caption_folder if word == "scenes" else tmp_path / word for word in words[:2]]
    done = acclimate("adapt", *folders, "--method", "zero-shot", *words[2:], "-q")
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1

"""What the last screen says of the figures, and whether what it tells to do works."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest

from acclimate.tasks import get_task
from acclimate.telling.words import verdict_sentence
from tests.helpers.command import QUICK, acclimate
from tests.helpers.pictures import make_pictures


def commands(text):
    """The commands that a screen shows, as words."""
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  acclimate ")]


@pytest.fixture(scope="module")
def worse(tmp_path_factory, tiny_folders):
    """A run that is clearly behind the linear probe, with options that its data need."""
    place = tmp_path_factory.mktemp("worse data")
    make_pictures(place / "pictures", per_class=24)
    (place / "pictures/cat/broken.png").write_text("no image")
    words = ("adapt", place / "pictures", "--backbone", tiny_folders["clip"], *QUICK, "--split-seed", 3)
    words = (*words, "--on-corrupt", "skip", "--method", "coop", "--set", "epochs=1", "--set", "lr=1e-6")
    done = acclimate(*words, "--out", place / "my run")
    assert done.code == 0, done.err
    return place, done


def test_the_loser_is_called_so_and_the_winner_recommended(worse):
    place, done = worse
    record = json.loads((place / "my run/record.json").read_text())
    verdict, rows = record["verdict"], {**record["baselines"], "coop": record["metrics"]}
    values = {name: metrics["accuracy"]["value"] for name, metrics in rows.items()}
    assert max(values, key=values.get) == verdict["against"] == "linear-probe"
    assert verdict["outcome"] == "worse"
    assert verdict["difference"]["value"] == pytest.approx(values["coop"] - values["linear-probe"])
    assert "coop is worse than the best baseline, linear-probe: -" in done.out
    assert "The best row is linear-probe" in done.out
    first = commands(done.out)[0]
    assert first[first.index("--method") + 1] == "linear-probe"


def test_the_commands_work_as_printed(worse):
    """Also with blanks in names, an unreadable image and a split of another seed."""
    place, done = worse
    adapt, predict, evaluate = commands(done.out)
    again = acclimate(*adapt, "--quiet")
    assert again.code == 0, again.err
    before, after = (
        json.loads((place / name / "record.json").read_text()) for name in ("my run", "my run-linear-probe")
    )
    row = before["baselines"]["linear-probe"]
    assert {name: after["metrics"][name] for name in row} == row  # the very row; a run of its own says more
    make_pictures(place / "new", per_class=1, seed=2)
    told = [place / "labels.csv" if word == "labels.csv" else word for word in predict]
    assert acclimate(*[place / "new" if word == "NEW_IMAGES" else word for word in told]).code == 0
    assert acclimate(*[place / "new" if word == "OTHER_DATA" else word for word in evaluate]).code == 0


def test_confused_classes_are_counted(worse):
    place, done = worse
    metrics = json.loads((place / "my run/record.json").read_text())["metrics"]
    matrix, names = metrics["confusion_matrix"], metrics["class_names"]
    (line,) = [line for line in done.out.splitlines() if line.startswith("Most often confused by coop: ")]
    pairs = [(matrix[k][j], k, j) for k in range(3) for j in range(3) if k != j]
    count, k, j = max(pairs, key=lambda pair: (pair[0], pair[0] / sum(matrix[pair[1]])))
    assert f": {count} of {sum(matrix[k])} {names[k]} called {names[j]}" in line
    assert line.count(" called ") <= 3


def test_confusions_come_in_order_and_none_is_no_line():
    task = get_task("classification")
    metrics = {"confusion_matrix": [[5, 2, 0], [4, 1, 0], [0, 1, 9]], "class_names": ["a", "b", "c"]}
    assert task.confusions(metrics) == "4 of 5 b called a; 2 of 7 a called b; 1 of 10 c called b"
    assert task.confusions({"confusion_matrix": [[3, 0], [0, 2]], "class_names": ["a", "b"]}) == ""


GAP = {"value": 0.052, "low": 0.011, "high": 0.093}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "coop is better than the best baseline, linear-probe: +5.2 points of accuracy [+1.1, +9.3], image by"),
        (
            {"outcome": "within the noise"},
            "coop and the best baseline, linear-probe, are within the noise: +5.2 points",
        ),
        ({"outcome": "worse", "others": 1}, "coop is worse than linear-probe: "),
        ({"outcome": "within the noise", "differing": 0}, "are right on the very same images"),
        ({"metric": "image_to_text.recall@1"}, "points of Recall@1, image to text ["),
    ],
)
def test_the_sentence(changes, words):
    verdict = {"metric": "accuracy", "against": "linear-probe", "others": 2, "difference": GAP, "differing": 9}
    assert words in verdict_sentence("coop", {**verdict, "outcome": "better", **changes})


def test_evaluate_has_a_baseline_and_a_floor(worse, tmp_path):
    place, _ = worse
    data = make_pictures(tmp_path / "other", per_class=4, seed=5)
    (data / "cat/000.png").unlink()
    shown = acclimate("evaluate", place / "my run", data)
    assert shown.code == 0, shown.err
    assert "zero-shot" in shown.out
    assert "would be right for 36.4 % at most" in shown.out  # 4 of 11
    assert commands(shown.out)[0][0] == "predict"
    found = acclimate("evaluate", place / "my run", data, "--json").json
    assert set(found["baselines"]) == {"zero-shot"}
    assert found["verdict"]["against"] == "zero-shot"


def test_evaluate_with_other_classes_has_the_baseline_for_them(worse, tmp_path):
    place, _ = worse
    data = make_pictures(tmp_path / "other", ("mill", "bare land"), 4)
    found = acclimate("evaluate", place / "my run", data, "--rebind", "--json").json
    assert found["baselines"]["zero-shot"]["class_names"] == found["class_names"] == ["bare land", "mill"]


def test_a_record_without_a_verdict_is_shown(worse, tmp_path):
    """Records of earlier versions have none."""
    place, done = worse
    run = shutil.copytree(place / "my run", tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    del record["verdict"]
    (run / "record.json").write_text(json.dumps(record))
    command = commands(done.out)[0]
    words = [word for word in command if word != "linear-probe"]
    words.remove("--method")
    words[words.index("--out") + 1] = str(run)
    again = acclimate(*words, "--method", "coop", "--set", "epochs=1", "--set", "lr=1e-6")
    assert again.code == 0, again.err
    assert "nothing to do" in again.err
    assert "is worse than" not in again.out
    assert "Most often confused" in again.out

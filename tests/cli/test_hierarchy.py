"""`--hierarchy`, as a user types it."""

from __future__ import annotations

import csv
import json

import pytest

from tests.helpers.command import QUICK, acclimate

TREE = "animal: [cat, dog]\nriver:\n"


@pytest.fixture(scope="module")
def probe(tmp_path_factory, picture_folder, tiny_folders):
    run = tmp_path_factory.mktemp("hierarchy") / "run"
    done = acclimate(
        "adapt", picture_folder, "--backbone", tiny_folders["clip"], "--method", "linear-probe", *QUICK, "--out", run
    )
    assert done.code == 0, done.err
    (run.parent / "tree.yaml").write_text(TREE)
    return run, run.parent / "tree.yaml"


def test_the_deepest_node_that_is_sure_enough(probe, picture_folder, tmp_path):
    run, tree = probe
    how = ("--hierarchy", tree, "--floor", 0.7, "--device", "cpu")
    done = acclimate("predict", run, picture_folder / "test", *how, "--out", tmp_path / "rows.csv")
    assert done.code == 0, done.err
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    for row in rows:
        p = {name: float(row[f"p({name})"]) for name in ("cat", "dog", "river")}
        sums = {name: (p[name], 1 if name == "river" else 2) for name in p} | {"animal": (p["cat"] + p["dog"], 1)}
        sure = {name: one for name, one in sums.items() if one[0] >= 0.7}
        name = max(sure, key=lambda name: sure[name][1], default="")
        assert row["node"] == name
        assert int(float(row["level"])) == (sure[name][1] if name else 0)
        assert float(row["node_probability"]) == pytest.approx(sure[name][0] if name else 1.0)
    told = acclimate("predict", run, picture_folder / "test", *how, "--json", "-q").out.splitlines()
    assert [json.loads(line)["node"] for line in told] == [row["node"] for row in rows]
    lines = acclimate("predict", run, picture_folder / "test", *how, "-q").out.splitlines()
    assert all((row["node"] or "no node is sure enough") in line for row, line in zip(rows, lines, strict=True))
    plain = acclimate("predict", run, picture_folder / "test", "--device", "cpu", "--json", "-q").out
    assert "node" not in plain


def test_levels_are_measured(probe, picture_folder):
    run, tree = probe
    how = ("evaluate", run, picture_folder, "--hierarchy", tree, "--device", "cpu")
    found = acclimate(*how, "--json", "-q").json["hierarchy"]
    assert found["floor"] == 0.8
    shares = [row["share"]["value"] for row in found["levels"].values()]
    assert sum(shares) + found["unanswered"]["value"] == pytest.approx(1.0)
    assert "in the hierarchy at 80%" in " ".join(acclimate(*how, "-q").out.split())
    assert "hierarchy" not in acclimate("evaluate", run, picture_folder, "--device", "cpu", "--json", "-q").json


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("animal: [cat, dog]", "the class 'river' is missing"),
        ("animal: [cat, dog, river, fish]", "'fish' is no class"),
        ("animal: [cat, dog, river, cat]", "'cat' stands there twice"),
    ],
)
def test_bad_files_end_in_one_line(probe, picture_folder, tmp_path, text, told):
    (tmp_path / "tree.yaml").write_text(text)
    for verb, data in (("predict", picture_folder / "test"), ("evaluate", picture_folder)):
        done = acclimate(verb, probe[0], data, "--hierarchy", tmp_path / "tree.yaml", "--device", "cpu", "-q")
        assert done.code == 2
        assert told in done.err
        assert len(done.err.strip().splitlines()) == 1
    done = acclimate("predict", probe[0], picture_folder / "test", "--hierarchy", probe[1], "--floor", 2, "-q")
    assert (done.code, "--floor" in done.err) == (2, True)


def test_nodes_are_not_said_of_a_folder_as_a_whole(probe, picture_folder, tiny_folders, tmp_path):
    words = (picture_folder, "--backbone", tiny_folders["clip"], "--method", "zero-shot", "--domain", "natural")
    assert acclimate("adapt", *words, "--out", tmp_path / "run").code == 0
    for verb in ("predict", "evaluate"):
        done = acclimate(verb, tmp_path / "run", picture_folder, "--hierarchy", probe[1], "--adapt-to-folder")
        assert done.code == 2
        assert "error: --hierarchy with --adapt-to-folder: nodes" in " ".join(done.err.split())

"""Backbones ranked on labelled images."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError
from acclimate.methods.parts import kernels, ridge
from acclimate.runs import rank_backbones
from acclimate.runs.ranking import left_out_probabilities
from tests.helpers.command import acclimate
from tests.helpers.pictures import make_pictures, picture


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Pictures that are not told apart at once."""
    return make_pictures(tmp_path_factory.mktemp("ranking") / "noisy", per_class=10, noise=60)


def test_each_kind_has_its_place(noisy, tiny_folders, domain_folder, tmp_path):
    named = [tiny_folders["clip"], domain_folder, tiny_folders["clip"]]
    found = rank_backbones(noisy, named, only=True, shots="all", cache_dir=tmp_path)
    again = rank_backbones(load_data(noisy), named, only=True, shots="all")
    assert {one.name: one.kind for one in found} == {
        str(tiny_folders["clip"]): "dual encoder",
        str(domain_folder): "vision encoder",
    }
    assert [one.metrics for one in again] == [one.metrics for one in found]
    values = [one.metrics["balanced_accuracy"]["value"] for one in found]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.6  # of three classes
    assert found[0].metrics["samples"] == len(load_data(noisy).train)
    assert found[0].against_first is None
    assert found[1].against_first["difference"]["value"] <= 0
    assert all(one.milliseconds > 0 and one.parameters > 1000 for one in found)


def test_the_probabilities_are_those_of_a_refit_without_the_unit():
    random = np.random.default_rng(0)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    centres = random.normal(0, 2, (2, 5))[labels]
    points = [torch.tensor(centres + random.normal(0, 1, (8, 5))) for _ in range(2)]
    units = ["a", "a", "b", "c", "d", "e", "e", "f"]
    found = left_out_probabilities(points, labels, units)
    values = torch.nn.functional.one_hot(labels).double()
    targets = ridge.make_targets(values, torch.full_like(values, 0.5))
    choice = ridge.usual_choice(
        [kernels.usual_distance(kernels.squared_distances(some, some)) for some in points], [0.25, 0.75]
    )
    kernel = kernels.kernel_of(points, points, choice.betas, choice.shares)
    scores = torch.zeros(8, 2, dtype=torch.float64)
    for unit in set(units):
        out = torch.tensor([unit == one for one in units])
        again = ridge.solve(kernel[~out][:, ~out], targets.take((~out).nonzero()[:, 0]), choice.strength)
        scores[out] = 0.5 + kernel[out][:, ~out] @ again.coefficients
    temperature = ridge.judge(scores, targets)[1]
    np.testing.assert_allclose(found, (scores / temperature).softmax(-1), atol=1e-9)


def test_copies_of_an_image_teach_nothing_about_it(tmp_path, tiny_folders):
    """Noise without classes, each image three times: known by heart, unless copies and groups are left out together."""
    rows = [("path", "label", "group", "split")]
    for index in range(12):
        for copy in range(3):
            name = f"{index}-{copy}.png"
            grouped = f"g{index}" if index % 2 else ""
            picture(0, index, noise=60).point(lambda value, k=copy if grouped else 0: min(value + k, 255)).save(
                tmp_path / name
            )
            rows.append((name, f"class{index // 2 % 2}", grouped, "train"))
    picture(1, 0).save(tmp_path / "other.png")
    rows.append(("other.png", "class0", "", "test"))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (one,) = rank_backbones(tmp_path, tiny_folders["clip"], only=True, shots="all")
    assert one.metrics["groups"] == 12
    assert one.metrics["balanced_accuracy"]["value"] < 0.75


def test_what_cannot_be_judged(tmp_path, tiny_folders, caplog):
    make_pictures(tmp_path / "few", ("cat", "dog", "fox"), (12, 12, 1))
    with caplog.at_level("INFO", "acclimate.runs"):
        (one,) = rank_backbones(tmp_path / "few", tiny_folders["clip"], only=True)
    assert set(one.metrics["per_class"]) == {"cat", "dog"}
    assert "few: not judged, for nothing is left of them without one: fox" in caplog.text
    with pytest.raises(DataError, match="two classes with two training images each"):
        rank_backbones(tmp_path / "few", tiny_folders["clip"], only=True, shots=1)
    with pytest.raises(ConfigError, match="`only` ranks what is named"):
        rank_backbones(tmp_path / "few", only=True)


def test_the_command(noisy, tiny_folders, domain_folder):
    words = ("--backbone", tiny_folders["clip"], "--backbone", domain_folder, "--only", "--quiet")
    done = acclimate("backbones", "--on", noisy, *words, "--split-seed", 3)
    rows = acclimate("backbones", "--on", noisy, *words, "--split-seed", 3, "--json").json
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    for place, row in enumerate(rows):
        assert lines[1 + place].startswith(row["name"])
    assert "Test images are not read" in done.out
    option = "--domain-encoder" if rows[0]["kind"] == "vision encoder" else "--backbone"
    assert f"acclimate adapt {noisy} {option} {rows[0]['name']}" in done.out
    assert lines[-1].endswith("--split-seed 3")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--shots", 4), "--shots is about a ranking on images; name them with --on DATA"),
        (("--on", "nowhere"), "nowhere: no such file or folder"),
        (("--on", "DATA", "--backbone", "nowhere"), "no backbone folder 'nowhere'"),
        (("--on", "DATA", "--only"), "--only ranks what is named; name some with --backbone"),
        (("--on", "DATA", "--shots", "few"), "--shots few"),
    ],
)
def test_bad_words_end_in_one_line(noisy, words, reason):
    done = acclimate("backbones", *(noisy if word == "DATA" else word for word in words))
    assert done.code == 2
    assert reason in done.error

"""Bands of satellite images from the command line: named once, and shown again by everything that reads the run."""

from __future__ import annotations

import copy
import csv
import json

import numpy as np
import pytest
import tifffile

import acclimate
from acclimate.bench.facts import facts_of
from acclimate.bench.jobs import load_source
from acclimate.bench.spec import read_spec
from acclimate.data import join_data, load_data
from acclimate.data.bands import parse_bands
from acclimate.errors import ConfigError, DataError
from acclimate.exporting import export_onnx
from acclimate.reports import write_report
from acclimate.runs import look_at_images, suggest
from tests.helpers.command import QUICK
from tests.helpers.command import acclimate as command
from tests.helpers.pictures import picture
from tests.helpers.serving import serving

LABELS = ("cat", "dog")


def make(folder, first=3, per_class=6, bands=6):
    """Write TIFF files of 8 bits: a picture as three bands from `first` on, from 0, in reverse; noise in the others."""
    for number, label in enumerate(LABELS):
        for index in range(per_class):
            (folder / label).mkdir(parents=True, exist_ok=True)
            values = np.random.default_rng([number, index]).integers(0, 256, (32, 36, bands)).astype(np.uint8)
            values[..., first : first + 3] = np.asarray(picture(number, index))[..., ::-1]
            form = "rgb" if bands == 3 else "minisblack"
            tifffile.imwrite(folder / label / f"{index}.tif", values, photometric=form, planarconfig="contig")
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return make(tmp_path_factory.mktemp("bands") / "scenes")


@pytest.fixture(scope="module")
def reversed_colours(tmp_path_factory):
    return make(tmp_path_factory.mktemp("bands") / "colours", first=0, bands=3)


@pytest.fixture(scope="module")
def learned(scenes, tiny_folders, tmp_path_factory):
    """A run on bands 6, 5 and 4."""
    run = tmp_path_factory.mktemp("bands-run") / "run"
    words = ("--backbone", tiny_folders["clip"], "--method", "zero-shot", *QUICK)
    done = command("adapt", scenes, "--bands", "6,5,4", *words, "--out", run)
    assert done.code == 0, done.err
    assert "1, 2 and 3 are shown" not in done.err
    return run


def probabilities(model, images):
    return np.stack([row.probabilities for row in model.predict(images)])


def test_a_run_shows_them_again(scenes, reversed_colours, learned, tiny, tmp_path):
    assert json.loads((learned / "record.json").read_text())["data"]["bands"] == [6, 5, 4]
    model, paths = acclimate.load(learned), [str(scenes / "cat" / f"{index}.tif") for index in range(6)]
    data = load_data(reversed_colours, bands=(3, 2, 1))
    same = acclimate.adapt(data, "zero-shot", tiny, shots=4, domain="natural", device="cpu")
    expected = probabilities(same, str(reversed_colours / "cat"))
    assert np.abs(probabilities(model, paths) - expected).max() < 1e-5
    assert np.abs(probabilities(copy.deepcopy(model), paths) - expected).max() < 1e-5
    other = acclimate.load(learned, bands="1,2,3")
    assert np.abs(probabilities(other, paths) - expected).max() > 1e-3
    assert model.evaluate(scenes)["accuracy"] == same.evaluate(data)["accuracy"]
    assert model.evaluate(scenes, bands="1,2,3")["nll"] != model.evaluate(scenes)["nll"]
    (looked,) = look_at_images(model, paths[:1])
    assert np.array_equal(np.asarray(looked.image), np.asarray(picture(0, 0)))
    assert suggest(model, make(tmp_path / "new", per_class=2, bands=7)).bands == (6, 5, 4)
    page = write_report([learned], tmp_path / "report.html").read_text()
    assert "--bands 6,5,4" in page


def test_the_command_line(scenes, learned, tmp_path):
    done = command("predict", learned, scenes, "--out", tmp_path / "labels.csv")
    assert done.code == 0, done.err
    assert len(list(csv.DictReader((tmp_path / "labels.csv").open()))) == 12
    metrics = [command("evaluate", learned, scenes, "--json", *more).json for more in ((), ("--bands", "1,2,3"))]
    assert metrics[0] != metrics[1]
    done = command("predict", learned, scenes, "--bands", "7")
    assert done.code == 2
    assert "it has 6 bands, too few for --bands 7" in done.err
    done = command("look", learned, scenes / "cat" / "0.tif", "--bands", "4", "--out", tmp_path / "maps")
    assert done.code == 0, done.err
    found = command("data", "check", scenes, "--json").json["findings"]
    assert "read_in_part" in {finding["kind"] for finding in found}
    found = command("data", "check", scenes, "--json", "--bands", "4,5,6").json["findings"]
    assert not {"read_in_part", "corrupt"} & {finding["kind"] for finding in found}
    found = command("data", "check", scenes, "--json", "--bands", "7,5,6").json["findings"]
    assert {"corrupt"} <= {finding["kind"] for finding in found}
    assert command("adapt", scenes, "--bands", "4,3").error == (
        "error: --bands 4,3: name three bands for red, green and blue, or one, counted from 1, such as 4,3,2"
    )


def test_other_bands_are_other_features(scenes, reversed_colours):
    data = {bands: load_data(scenes, bands=bands) for bands in (None, "1,2,3", "6,5,4")}
    keys = {one.pixels_key(0) for one in data.values()}
    assert len(keys) == 3
    shown = [np.asarray(one.image(3)) for one in (data["6,5,4"], load_data(reversed_colours, bands="3,2,1"))]
    assert np.array_equal(*shown)
    assert data["6,5,4"].test.bands == (6, 5, 4)
    assert load_data(data["6,5,4"], bands="1").bands == (1,)
    colours = load_data(reversed_colours, bands="4,3,2")
    with pytest.raises(DataError, match=r"it has 3 bands, too few for `bands=4,3,2`"):
        colours.image(0)
    with pytest.raises(DataError, match=r"other bands are shown \(scenes: 6,5,4, colours: 4,3,2\); name the same"):
        join_data([data["6,5,4"], colours])
    with pytest.raises(DataError, match=r"other bands are shown \(scenes: the first, colours: 4,3,2\)"):
        join_data([data[None], colours])


@pytest.mark.parametrize(
    "wrong", ["", "4,3", "0,1,2", "1,2,3,4", "a,b,c", "-1", "1.5", (), 3, b"4,3,2", {"a": 1}, "70000"]
)
def test_what_is_no_bands(wrong):
    with pytest.raises(ConfigError, match=r"^`bands=.*name three bands for red, green and blue, or one, counted from"):
        parse_bands(wrong)


def test_other_bands_are_other_runs_and_jobs(scenes, tiny, tmp_path):
    told = {"method": "zero-shot", "backbone": tiny, "shots": 1, "domain": "natural", "device": "cpu"}
    runs = [acclimate.adapt(load_data(scenes, bands=bands), **told) for bands in (None, "1,2,3", "6,5,4")]
    assert len({run.record["identity"] for run in runs}) == 3
    spec = {
        "title": "bands",
        "backbones": ["mini-clip"],
        "data": {name: {"path": str(scenes), **more} for name, more in (("a", {}), ("b", {"bands": "6,5,4"}))},
    }
    (tmp_path / "bench.yaml").write_text(
        json.dumps({**spec, "methods": ["zero-shot"], "suites": [{"protocol": "few-shot", "data": ["a", "b"]}]})
    )
    read = read_spec(tmp_path / "bench.yaml")
    found = [facts_of(load_source(name, source), source) for name, source in read.data.items()]
    assert ("bands" in found[0], found[1]["bands"]) == (False, [6, 5, 4])
    assert found[0] == {name: value for name, value in found[1].items() if name != "bands"}


def test_a_server_shows_them_too(scenes, learned, tiny):
    files = sorted((scenes / "cat").glob("*.tif"))
    with serving({"scenes": acclimate.load(learned, tiny, device="cpu")}) as server:
        told = server.post("/predict", files).json()["predictions"]
        assert server.post("/explain", files[:1]).status_code == 200
    printed = [json.loads(line) for line in command("predict", learned, *files, "--json").out.splitlines()]
    assert [row["probabilities"] for row in told] == [row["probabilities"] for row in printed]
    other = acclimate.load(learned, tiny, device="cpu", bands=(1, 2, 3)).predict(files)
    assert [row["probabilities"]["cat"] for row in told] != [row.probabilities[0] for row in other]


def test_an_export_says_that_it_cannot_choose_them(learned, tiny, tmp_path, caplog):
    export_onnx(acclimate.load(learned, tiny, device="cpu"), tmp_path / "out")
    assert "the run is shown the bands 6,5,4 of its images, which the script cannot choose" in caplog.text
    assert json.loads((tmp_path / "out" / "preprocess.json").read_text())["bands"] == [6, 5, 4]

"""An export as a folder: whole or not there, and a script that says what `predict` says, without this package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import acclimate
from acclimate.data.tiles import cut
from acclimate.data.transforms import ImageTransform
from acclimate.errors import ConfigError, RunError
from acclimate.exporting import export_onnx
from acclimate.exporting.folder import FILES
from acclimate.exporting.onnx import Parity
from acclimate.tasks import get_task, list_tasks
from tests.helpers.command import acclimate as command
from tests.helpers.waiting import HANG

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

ALONE = """
import runpy, sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "acclimate", "transformers", "onnx", "onnxscript"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refusing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def infer(folder, *images):
    """Run the script where neither torch nor this package can be imported."""
    words = [sys.executable, "-c", ALONE, str(folder / "infer.py"), *map(str, images)]
    return subprocess.run(words, capture_output=True, text=True, timeout=HANG, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures, tiny, domain_folder):
    """A run that reads the tiles of images through two encoders."""
    folder = tmp_path_factory.mktemp("export") / "run"
    how = {"domain_encoder": domain_folder, "shots": 3, "domain": "natural", "device": "cpu", "out": folder}
    acclimate.adapt(pictures, "kernel-ridge", tiny, **how)
    return folder


@pytest.fixture(scope="module")
def exported(run):
    return command("export", run, "--to", "onnx", "--json")


@pytest.fixture
def folder(run, exported):
    assert exported.code == 0, exported.err
    return run / "onnx"


def test_what_is_said_and_written(run, exported, folder):
    told = exported.json
    assert told["folder"] == str(folder)
    assert set(told["files"]) == set(FILES) == {file.name for file in folder.iterdir()}
    assert told["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert told["test_images"]["images"] == 15
    assert told["random_numbers"]["largest_difference"] <= 1e-4
    assert json.loads((folder / "labels.json").read_text()) == ["cat", "dog", "river"]
    takes = json.loads((folder / "preprocess.json").read_text())["inputs"]
    assert {name: how["grids"] for name, how in takes.items()} == {"pixels": [2], "domain_pixels": [2]}
    assert str(run.parent) not in (folder / "preprocess.json").read_text()


def test_the_script_says_what_predict_says_without_torch_and_this_package(run, folder, picture_folder, tmp_path):
    files = [str(file) for file in sorted((picture_folder / "test").rglob("*.png"))]
    turned = tmp_path / "turned.jpg"  # upright only by its EXIF, and larger than what the towers see
    exif = Image.Exif()
    exif[274] = 6
    Image.open(files[0]).resize((300, 170)).save(turned, exif=exif)
    clear = tmp_path / "clear.png"
    layer = np.dstack([np.asarray(Image.open(files[1])), np.full((32, 36), 120, np.uint8)])
    Image.fromarray(layer, "RGBA").save(clear)
    Image.open(files[2]).convert("L").save(tmp_path / "grey.png")
    files += [str(turned), str(clear), str(tmp_path / "grey.png")]
    done = infer(folder, *files)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = acclimate.load(run, device="cpu").predict(files)
    assert [row[0] for row in rows] == files
    assert [row[1] for row in rows] == [each.label for each in expected]
    assert [float(row[2]) for row in rows] == pytest.approx([each.probability for each in expected], abs=1e-4)


def test_an_image_that_the_script_cannot_read_is_one_line(folder, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "deep.png")
    for name, reason in (("text.png", "cannot identify"), ("deep.png", "more than 8 bits"), ("gone.png", "No such")):
        done = infer(folder, tmp_path / name)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert reason in done.stderr
        assert name in done.stderr


TRANSFORMS = [
    ImageTransform(),
    ImageTransform(resize=48, crop=(64, 40), resample="bilinear"),
    ImageTransform(resize=(50, 70), crop=None, mean=(0.5, 0.5, 0.5)),
    ImageTransform(resize=None, crop=(33, 47)),
    ImageTransform(resize=60, crop=None, pad=(64, 72), resample="lanczos"),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=["edge", "padded crop", "stretched", "crop", "longest"])
@pytest.mark.parametrize("size", [(36, 32), (31, 90), (257, 64)], ids=str)
def test_the_script_prepares_images_as_the_package_does(transform, size):
    from acclimate.exporting import infer as script

    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    how = json.loads(json.dumps(transform.to_dict()))
    found = script.pixels(image, how)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, transform.normalise(transform(image)).numpy(), atol=1e-5)
    for ours, theirs in zip(script.crops(image, [2, 3]), cut(image, 2) + cut(image, 3)[1:], strict=True):
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_other_files_are_kept(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    done = command("export", run, "--to", "onnx", "--out", tmp_path / "out")
    assert done.code == 2
    assert "holds 'notes.txt', which is no part of an export" in done.error
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_an_earlier_export_is_replaced(run, folder, tmp_path):
    other = tmp_path / "mine"
    shutil.copytree(folder, other)
    (other / "labels.json").write_text("[]")
    done = command("export", run, "--to", "onnx", "--out", other)
    assert done.code == 0, done.err
    assert f"python {other / 'infer.py'} IMAGE" in done.out
    assert "on 15 test images, with the same labels" in done.out
    assert json.loads((other / "labels.json").read_text()) == ["cat", "dog", "river"]
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_what_has_no_form_is_an_error_and_leaves_nothing(run, tmp_path):
    model = acclimate.load(run, device="cpu")
    told = model.method.logits
    model.method.logits = lambda batch: told(batch) * (1.0 if float(told(batch).sum()) > 0 else 2.0)
    with pytest.raises(ConfigError, match=r"kernel-ridge on '.*' has no form in ONNX \(Could not guard"):
        export_onnx(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_bad_places(run, tmp_path):
    (tmp_path / "file").write_text("")
    for words, said in (
        (("export", tmp_path / "gone", "--to", "onnx"), "there is no such run folder"),
        (("export", run, "--to", "onnx", "--out", tmp_path / "file"), "is a file; name a folder"),
        (("export", run, "--to", "onnx", "--out", tmp_path / "file" / "below"), "cannot write"),
        (("export", run, "--to", "tflite"), "'tflite' is not"),
        (("export", run), "Missing option"),
    ):
        done = command(*words)
        assert done.code == 2
        assert said in done.error
    model = acclimate.load(run, device="cpu")
    model.run = None
    with pytest.raises(RunError, match="name a folder with `out`"):
        export_onnx(model)


def test_a_missing_extra_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    done = command("export", run, "--to", "onnx", "--out", tmp_path / "out")
    assert done.code == 2
    assert "install it with `pip install 'acclimate[onnx]'`" in done.error
    assert not (tmp_path / "out").exists()


def test_agreement():
    ours = np.array([[0.6, 0.4], [0.50001, 0.49999]])
    near = np.array([[0.60005, 0.39995], [0.49999, 0.50001]])  # the second image is undecided
    assert Parity.of(ours, near, "images") == Parity(2, pytest.approx(5e-5))
    for theirs in (ours[:, ::-1], ours + 0.01, ours * np.nan):
        with pytest.raises(RunError, match="on images probabilities differ"):
            Parity.of(ours, theirs, "images")


def test_a_single_class():
    assert Parity.of(np.ones((3, 1)), np.ones((3, 1)), "images").difference == 0


@pytest.mark.parametrize("task", [task.name for task in list_tasks() if not task.exclusive])
def test_runs_that_do_not_tell_one_class_an_image_are_refused(task, run, tmp_path):
    model = acclimate.load(run, device="cpu")
    model.task = get_task(task)
    with pytest.raises(ConfigError, match="has no ONNX export; give a run that tells one class an image apart"):
        export_onnx(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_eight_bits_are_measured_beside_thirty_two(run, tmp_path):
    done = command("export", run, "--to", "onnx", "--int8", "--out", tmp_path / "short", "--json")
    assert done.code == 0, done.err
    told, folder, model = done.json, tmp_path / "short", acclimate.load(run, device="cpu")
    cost = told["int8"]
    assert set(told["files"]) == set(FILES)
    assert json.loads((folder / "preprocess.json").read_text())["int8"] == cost
    assert (folder / "model.onnx").stat().st_size < 0.7 * cost["bytes_float32"]
    assert told["test_images"]["largest_difference"] <= 1e-4  # of the graph before it was shortened
    table = model.predictions.to_pylist()
    paths = [row["path"] for row in table]
    said = [line.split("\t")[1] for line in infer(folder, *paths).stdout.splitlines()]
    labels, known = ([row[name] for row in table] for name in ("label", "predicted"))

    def share(one, other):
        return pytest.approx(np.mean([a == b for a, b in zip(one, other, strict=True)]))

    assert cost["images"] == len(paths) == 15
    assert cost["accuracy"] == share(said, labels)
    assert cost["accuracy_float32"] == share(known, labels)
    assert cost["agreement"] == share(said, known)


def test_what_eight_bits_cost_is_said_in_a_line(run, tmp_path):
    done = command("export", run, "--to", "onnx", "--int8", "--out", tmp_path / "short")
    assert "With 8 bits, " in done.out
    assert "15 test images" in done.out
    assert "pre-processing" not in done.err + done.out

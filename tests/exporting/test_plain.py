"""`acclimate export --to transformers`: what is written, and that it labels images where this package is not."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import acclimate
from acclimate.errors import ConfigError, RunError
from acclimate.exporting import export_transformers
from acclimate.exporting.plain import plain_form
from acclimate.tasks import get_task, list_tasks
from tests.helpers.command import acclimate as command
from tests.helpers.runs import quick
from tests.helpers.waiting import HANG

ALONE = """
import runpy, sys
sys.modules["acclimate"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures, tiny):
    folder = tmp_path_factory.mktemp("export") / "run"
    quick(pictures, tiny, out=folder)
    return folder


def test_what_is_said_and_written(run, tiny):
    done = command("export", run, "--to", "transformers", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["folder"] == str(run / "transformers")
    assert told["architecture"] == "CLIPModel"
    assert {"README.md", "class_embeddings.safetensors", "config.json", "model.safetensors"} <= {*told["files"]}
    assert told["bytes"] == sum(file.stat().st_size for file in (run / "transformers").iterdir())
    assert told["largest_difference"] <= 1e-4
    for file in (run / "transformers").iterdir():
        assert str(run.parent).encode() not in file.read_bytes()
        assert str(tiny.place.folder).encode() not in file.read_bytes()
    again = command("export", run, "--to", "transformers")
    assert "a CLIPModel for 3 classes" in again.out
    (run / "transformers" / "notes.txt").write_text("mine")
    assert "which is no part of an export" in command("export", run, "--to", "transformers").error
    (run / "transformers" / "notes.txt").unlink()


@pytest.mark.slow
def test_the_lines_of_the_readme_say_what_predict_says(run, picture_folder, tmp_path):
    found = export_transformers(acclimate.load(run, device="cpu"), tmp_path / "plain").folder
    (code,) = re.findall(r"```python\n(.*?)```", (found / "README.md").read_text(), re.S)
    (tmp_path / "use.py").write_text(code)
    files = [str(file) for file in sorted((picture_folder / "test").rglob("*.png"))]
    noise = np.random.default_rng(0).integers(0, 256, (170, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    files.append(str(tmp_path / "large.png"))
    words = [sys.executable, "-c", ALONE, str(tmp_path / "use.py"), *files]
    done = subprocess.run(words, cwd=found, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = acclimate.load(run, device="cpu").predict(files)
    assert [row[0] for row in rows] == files
    assert [row[1] for row in rows] == [one.label for one in expected]
    assert [float(row[2]) for row in rows] == pytest.approx([one.probability for one in expected], abs=2e-4)


def test_a_model_that_says_something_else_is_not_kept(run, tmp_path):
    model = acclimate.load(run, device="cpu")
    told = model.method.logits
    model.method.logits = lambda batch: 2 * told(batch)
    with pytest.raises(RunError, match="does not say what the run says: probabilities differ"):
        export_transformers(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", [task.name for task in list_tasks() if not task.exclusive])
def test_runs_that_do_not_tell_one_class_an_image_are_refused(task, run, tmp_path):
    model = acclimate.load(run, device="cpu")
    model.task = get_task(task)
    with pytest.raises(ConfigError, match="has no such export; give a run that tells one class"):
        export_transformers(model, tmp_path / "out")
    assert plain_form(model.method) is not None

"""What a server says of images is what the command line says of the same files."""

from __future__ import annotations

import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from acclimate.runs import look_at_images
from acclimate.runs.saliency_files import draw_beside, draw_map
from acclimate.serving import works
from tests.helpers.command import acclimate as command
from tests.helpers.runs import quick
from tests.helpers.serving import png, refused, serving
from tests.helpers.tiny_vlms import tiny_llava


def renamed(rows, files):
    return [row | {"path": file.name} for row, file in zip(rows, files, strict=True)]


@pytest.mark.parametrize("asked", [{}, {"coverage": 0.8, "known": 0.2}, {"known": 0}], ids=str)
def test_rows_are_those_of_predict_bit_for_bit(server, run, files, asked):
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    printed = command("predict", run, *files, "--json", *words).out.splitlines()
    told = server.post("/predict", files, **asked)
    assert told.status_code == 200
    assert told.json()["run"] == "animals"
    assert told.json()["predictions"] == renamed(map(json.loads, printed), files)
    assert {"set", "p_known"} & told.json()["predictions"][0].keys() == (
        {"set", "p_known"} if "coverage" in asked else set() if asked else {"p_known"}
    )


def test_tables_are_the_files_of_predict(server, run, files, tmp_path):
    for suffix in ("csv", "jsonl"):
        command("predict", run, *files, "--out", tmp_path / f"rows.{suffix}", "--coverage", 0.8)
    told = server.post("/predict", files, coverage=0.8, format="csv")
    assert told.headers["content-type"] == "text/csv; charset=utf-8"
    written = (tmp_path / "rows.csv").read_bytes().decode()
    for file in files:
        written = written.replace(str(file), file.name)
    assert told.content.decode() == written
    table = server.post("/predict", files, coverage=0.8, format="table").json()
    assert table["columns"] == written.splitlines()[0].split(",")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert table["rows"] == renamed(rows, files)


def test_more_images_than_a_batch_run_as_predict_runs_them(server, model, files):
    many = [file for file in files for _ in range(3)]  # 45, of which 32 run together
    told = server.post("/predict", many).json()["predictions"]
    expected = model.predict(many)
    assert [list(row["probabilities"].values()) for row in told] == [row.probabilities.tolist() for row in expected]


def test_images_that_cannot_be_read_stand_among_the_others(server, files):
    told = server.post("/predict", [files[0], ("notes.png", b"some text"), files[1]])
    assert told.status_code == 200
    first, bad, last = told.json()["predictions"]
    assert (first["error"], last["error"]) == ("", "")
    assert bad["path"] == "notes.png"
    assert "cannot read image 'notes.png'" in bad["error"]


def test_clients_at_the_same_time_get_their_own_answers(server, model, files):
    """Images of several requests run together; which ones decides the last bits, as the size of a batch does."""
    expected = {file.name: row for file, row in zip(files, model.predict(files), strict=True)}
    before = server.count("batch_images_count"), server.count("batch_images_sum")

    def ask(number):
        some = [files[(number + step) % len(files)] for step in range(1 + number % 3)]
        return some, server.post("/predict", some).json()["predictions"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    for some, rows in answers:
        assert [row["path"] for row in rows] == [file.name for file in some]
        for row in rows:
            own = expected[row["path"]]
            assert row["label"] == own.label
            np.testing.assert_allclose(list(row["probabilities"].values()), own.probabilities, atol=1e-6)
    batches, images = server.count("batch_images_count") - before[0], server.count("batch_images_sum") - before[1]
    assert images == sum(len(some) for some, _ in answers)
    assert batches < 64  # fewer than requests: some ran together


def test_maps_are_those_of_look(server, model, files):
    (found,) = look_at_images(model, files[0])
    told = server.post("/explain", files[:1])
    assert told.headers["content-type"] == "image/png"
    assert told.content == draw_beside(found)
    assert unquote(told.headers["x-acclimate-class"]) == found.class_name
    assert float(told.headers["x-acclimate-probability"]) == pytest.approx(found.probability, abs=1e-6)
    (other,) = look_at_images(model, files[0], "river")
    alone = server.post("/explain", files[:1], **{"class": "river", "view": "map"})
    assert Image.open(io.BytesIO(alone.content)).tobytes() == draw_map(other).tobytes()
    assert "river" in refused(server.post("/explain", files[:1], **{"class": "moon"}), 422)
    assert "one image a request" in refused(server.post("/explain", files[:2]), 422)
    assert "cannot read" in refused(server.post("/explain", [("x.png", b"x")]), 422)


def test_large_images_are_explained_in_a_smaller_size(server, model, files, monkeypatch):
    monkeypatch.setattr(works, "MOST_EXPLAINED", 100)
    told = server.post("/explain", files[:1], view="map")
    with Image.open(files[0]) as image, Image.open(io.BytesIO(told.content)) as drawn:
        assert drawn.width * drawn.height <= 100 < image.width * image.height
        assert drawn.width / drawn.height == pytest.approx(image.width / image.height, rel=0.2)


def test_questions_are_answered_by_runs_that_write(pictures, files, tmp_path):
    from acclimate.backbones import load_vlm

    model = quick(pictures, load_vlm(tiny_llava(tmp_path / "vlm")), method="vlm-zero-shot", settings={})
    with serving({"writer": model}) as client:
        told = client.post("/ask", files[:2], question="What is it?", max_tokens=3)
        assert "question is empty" in refused(client.post("/ask", files[:1]), 422)
    expected = model.ask(files[:2], "What is it?", 3)
    assert told.json() == {
        "run": "writer",
        "answers": [
            {"path": file.name, "question": "What is it?", "answer": one.answer, "error": ""}
            for file, one in zip(files, expected, strict=False)
        ],
    }


def test_several_runs_have_names(model, plain, files):
    with serving({"probe": model, "zero": plain}) as client:
        told = client.get("/runs").json()["runs"]
        assert [(one["name"], one["sets"]) for one in told] == [("probe", True), ("zero", False)]
        assert told[1]["classes"] == ["cat", "dog", "river"]
        for name, own in (("probe", model), ("zero", plain)):
            (row,) = client.post("/predict", files[:1], run=name).json()["predictions"]
            assert list(row["probabilities"].values()) == own.predict(files[0])[0].probabilities.tolist()
        assert "probe, zero" in refused(client.post("/predict", files[:1]), 422)
        assert "probe, zero" in refused(client.post("/predict", files[:1], run="other"), 404)
        assert "keeps no calibration" in refused(client.post("/predict", files[:1], run="zero", coverage=0.9), 422)
        assert "answers no questions" in refused(client.post("/ask", files[:1], run="zero", question="?"), 422)


def test_where_a_run_lies_is_not_told(server, run, files):
    answers = [server.get(path).text for path in ("/", "/runs", "/health", "/metrics", "/openapi.json")]
    answers.append(server.post("/predict", files[:1]).text)
    assert not [text for text in answers if str(run.parent) in text]


def test_metrics_count_what_was_answered(server, files):
    names = ("images_total", "requests_total", "refusals_total", "request_seconds_count")
    before = {name: server.count(name) for name in names}
    server.post("/predict", files[:3])
    server.post("/predict", [("x.png", b"x")])
    after = {name: server.count(name) for name in names}
    assert after["images_total"] - before["images_total"] == 3
    assert after["refusals_total"] - before["refusals_total"] == 1
    text = server.get("/metrics").text
    assert re.search(r'^acclimate_waiting_images\{run="animals"\} 0\.0$', text, re.MULTILINE)
    assert re.search(r'^acclimate_requests_total\{path="/predict",status="422"\} ', text, re.MULTILINE)
    assert 'path="other"' not in text or server.get("/nothing").status_code == 404


def test_health_and_schema(server):
    assert server.get("/health").json()["status"] == "ok"
    schema = server.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/health", "/runs", "/metrics", "/predict", "/explain", "/ask"}
    example = schema["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    assert example["predictions"][0]["label"] == "granite"


def test_names_of_files_are_texts(server):
    told = server.post("/predict", [("../../etc/passwd\n=1.png", png())]).json()["predictions"]
    assert told[0]["path"].endswith("=1.png")
    assert "\n" not in told[0]["path"]
    csv = server.post("/predict", [("=1+2.png", png())], format="csv").text
    assert "\n'=1+2.png," in csv

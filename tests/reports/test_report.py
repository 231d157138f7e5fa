"""Reports: what a page says of runs, and how a browser shows it."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import acclimate
from acclimate.data import check_data, load_data
from acclimate.errors import RunError
from acclimate.metrics import compare_hits, evaluate_classification
from acclimate.reports import make_report, write_report
from acclimate.reports.features import neighbour_plane
from acclimate.reports.pictures import embedded
from acclimate.runs import look_at_images
from acclimate.runs.kept_predictions import keep_predictions, predictions_table, read_predictions
from acclimate.runs.saliency_files import draw_map
from acclimate.telling.words import verdict_sentence
from tests.helpers.browser import browse
from tests.helpers.command import acclimate as command
from tests.helpers.pictures import make_split_pictures, picture
from tests.helpers.runs import QUICK, forget_places, quick

NAMES = ("<script>alert('x')</script>", 'O\'Brien "& co"', "🪨 $granite_1$")
HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures whose classes and files have names that mean something to a browser; hard to tell apart."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = ["path\tlabel\tsplit"]
    for split, count in (("train", 10), ("val", 3), ("test", 6)):
        for kind, name in enumerate(NAMES):
            for number in range(count):
                file = f"{HOSTILE}-{split}-{kind}-{number}.png"
                picture(kind, number, seed=len(split), noise=300.0).save(folder / file)
                quoted = [part.replace('"', '""') for part in (file, name, split)]
                rows.append("\t".join(f'"{part}"' for part in quoted))
    table = folder / "table.csv"
    table.write_text("\n".join(rows).replace("\t", ","))
    return load_data(table)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny, data):
    """A linear probe and zero-shot in their folders."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("linear-probe", "zero-shot"):
        quick(data, tiny, method=method, out=folder / method, settings={}, shots="all")
    return folder


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    """The report of the probe."""
    return write_report([runs / "linear-probe"], tmp_path_factory.mktemp("page") / "report.html")


def said(run):
    """The rows of the test images."""
    return read_predictions(run).to_pylist()


def test_names_mean_nothing_to_a_browser(page):
    text = page.read_text()
    assert "<script" not in text
    assert "<img src=x" not in text
    for name in NAMES:
        assert html.escape(name).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text


def test_it_asks_for_nothing(page):
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page.read_text())
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "url(" not in page.read_text()
    assert "@import" not in page.read_text()


def test_figures_are_those_of_the_record(page, runs):
    text = html.unescape(page.read_text())
    record = json.loads((runs / "linear-probe" / "record.json").read_text())
    for metrics in (record["metrics"], record["baselines"]["zero-shot"]):
        for name in ("accuracy", "balanced_accuracy", "macro_f1"):
            point, low, high = (f"{100 * metrics[name][end]:.1f}" for end in ("value", "low", "high"))
            assert f"<td>{point} [{low}, {high}]</td>" in text
    assert "acclimate adapt DATA --method linear-probe" in text
    assert record["backbone"]["fingerprint"] in text


def test_mistakes_are_shown_most_confident_first(page, runs):
    text = page.read_text()
    gallery = text[text.index("Most confident mistakes") : text.index("Least sure")]
    shown = [html.unescape(name) for name in re.findall(r'<span class="name">([^<]*)</span>', gallery)]
    wrong = [row for row in said(runs / "linear-probe") if row["label"] != row["predicted"]]
    assert len(wrong) > 2  # else this shows nothing
    assert shown == [row["key"] for row in sorted(wrong, key=lambda row: -row["probability"])][: len(shown)]
    assert gallery.count("data:image/jpeg") == 5 * len(shown)  # itself, its map, and three training images
    assert f"{len(shown)} of {len(wrong)}" in gallery


def test_nearest_images_are_training_images(page, runs, data):
    near = re.findall(r'<span title="([^"]*)"><img src="data:', page.read_text())
    assert near
    assert {html.unescape(name) for name in near} <= set(data.train.keys)


def test_each_image_has_a_map_of_what_counts_for_its_answer(page, runs, tmp_path):
    maps = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" alt="where the model looked"', page.read_text())
    rows = {row["path"]: row for row in said(runs / "linear-probe")}
    model = acclimate.load(runs / "linear-probe")
    found = [draw_map(one, 160) for one in look_at_images(model, list(rows))]
    assert {hash_of(Image.open(io.BytesIO(base64.b64decode(one)))) for one in maps} == {*map(hash_of, map(jpeg, found))}
    without = write_report([runs / "linear-probe"], tmp_path / "plain.html", features=False).read_text()
    assert "where the model looked" not in without


def test_of_several_data_sets_each_is_shown_among_its_own_classes(tiny, tmp_path):
    sets = [
        load_data(make_split_pictures(tmp_path / name, classes, noise=200.0))
        for name, classes in {"animals": ("cat", "dog"), "scenes": ("dog", "forest", "river")}.items()
    ]
    quick(sets, tiny, method="zero-shot", settings={}, shots="all", out=tmp_path / "run")
    text = write_report([tmp_path / "run"], tmp_path / "report.html").read_text()
    parts = text[text.index("What it is worth") :].split("What it is worth")[1:]
    for one, part in zip(sets, parts, strict=True):
        maps = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" alt="where the model looked"', part)
        looked = {hash_of(Image.open(io.BytesIO(base64.b64decode(drawn)))) for drawn in maps}
        own = acclimate.load(tmp_path / "run", tiny).of_set(one.name)
        found = [draw_map(found, 160) for found in look_at_images(own, one.test.paths)]
        assert looked
        assert looked <= {*map(hash_of, map(jpeg, found))}
        near = re.findall(r'<span title="([^"]*)"><img src="data:', part)
        assert near
        assert {html.unescape(name) for name in near} <= set(one.train.keys)


def jpeg(image):
    """The image as a page holds it."""
    return Image.open(io.BytesIO(base64.b64decode(embedded(image).partition(",")[2])))


def hash_of(image):
    return image.size, image.tobytes()


def test_several_runs_are_compared_image_by_image(runs, tmp_path):
    folders = [runs / "linear-probe", runs / "zero-shot"]
    text = html.unescape(write_report(folders, tmp_path / "both.html", features=False).read_text())
    hits = [np.array([row["label"] == row["predicted"] for row in said(folder)]) for folder in folders]
    gap = compare_hits(hits[0], hits[1], data_groups(folders[0]))["difference"]
    value, low, high = (f"{100 * gap[end]:+.1f}" for end in ("value", "low", "high"))
    assert f"{value} points of accuracy [{low}, {high}]" in text
    assert "On 18 images that both were measured on." in text


def data_groups(run):
    return [row["group"] for row in said(run)]


def test_a_run_of_an_earlier_release_is_reported_without_images(runs, tmp_path):
    earlier = shutil.copytree(runs / "linear-probe", tmp_path / "run")
    (earlier / "predictions.parquet").unlink()
    text = write_report([earlier], tmp_path / "report.html").read_text()
    assert "This run keeps no predictions" in text
    assert "data:image/jpeg" not in text
    assert "What is taken for what" in text


def test_images_and_a_backbone_that_have_gone_are_left_out(runs, tmp_path, caplog):
    moved = shutil.copytree(runs / "linear-probe", tmp_path / "run")
    table = read_predictions(moved)
    gone = table.set_column(table.schema.get_field_index("path"), "path", [["/gone.png"] * len(table)])
    keep_predictions(moved, gone)
    text = write_report([moved], tmp_path / "report.html").read_text()
    assert "data:image/jpeg" not in text
    assert text.count('class="gone"') > 10
    adapter = json.loads((moved / "adapter.json").read_text())
    adapter["backbone"]["fingerprint"] = "0" * 32
    (moved / "adapter.json").write_text(json.dumps(adapter))
    keep_predictions(moved, table)
    text = write_report([moved], tmp_path / "report.html").read_text()
    assert "data:image/jpeg" in text
    assert 'class="near"' not in text
    assert "nothing that needs the model is shown" in caplog.text


def test_a_backbone_that_has_moved_is_named(runs, tiny_folders, tmp_path):
    moved, words = shutil.copytree(runs / "zero-shot", tmp_path / "run"), ("report", tmp_path / "run", "--quiet")
    place = shutil.copytree(tiny_folders["clip"], tmp_path / "elsewhere")
    for file in ("adapter.json", "record.json"):
        text = (moved / file).read_text().replace(str(tiny_folders["clip"]), str(tmp_path / "gone"))
        (moved / file).write_text(text)
    forget_places(moved)
    out = tmp_path / "report.html"
    assert command(*words, "--out", out).code == 0
    assert 'class="near"' not in out.read_text()
    assert command(*words, "--out", out, "--backbone", place).code == 0
    assert 'class="near"' in out.read_text()
    refused = command(*words, "--out", out, "--backbone", tiny_folders["siglip"])
    assert refused.code == 2
    assert refused.err.count("error:") == 1


def test_the_map_shows_images_in_their_places(page):
    text = page.read_text()
    drawn = re.search(r'<svg viewBox="0 0 460 340".*?</svg>\n<figcaption>', text, re.DOTALL)[0]
    places = [(float(x), float(y)) for x, y in re.findall(r'<svg x="([\d.]+)" y="([\d.]+)"', drawn)]
    assert len(places) == drawn.count("data:image/jpeg") > 3
    assert all(0 <= x <= 426 and 0 <= y <= 306 for x, y in places)
    assert all(max(abs(a - c), abs(b - d)) >= 34 for (a, b), (c, d) in itertools.combinations(places, 2))


def test_like_images_are_neighbours_on_the_map():
    random = np.random.default_rng(0)
    groups = np.repeat(np.eye(3, 20), 10, axis=0)
    places = neighbour_plane((groups + random.normal(0, 0.05, (30, 20))).astype(np.float32))
    distances = np.linalg.norm(places[:, None] - places, axis=-1) + np.diag([np.inf] * 30)
    assert (distances.argmin(1) // 10 == np.arange(30) // 10).all()
    assert np.array_equal(
        places, neighbour_plane((groups + np.random.default_rng(0).normal(0, 0.05, (30, 20))).astype(np.float32))
    )


def test_what_a_check_finds_is_told(runs, tiny, tmp_path):
    folder = make_split_pictures(tmp_path / "data", ("cat", "dog"))
    shutil.copy(folder / "train" / "cat" / "000.png", folder / "test" / "cat" / "copy.png")
    quick(folder, tiny, method="zero-shot", settings={}, shots=2, out=tmp_path / "run")
    text = html.unescape(write_report([tmp_path / "run"], tmp_path / "report.html", features=False).read_text())
    told = next(one.message for one in check_data(folder).findings if "across" in one.kind)
    assert f"<li><strong>error</strong> {told}</li>" in text
    shutil.rmtree(folder / "train")
    text = write_report([tmp_path / "run"], tmp_path / "report.html", features=False).read_text()
    assert "The images were not checked here" in text


def test_words_nearest_to_what_was_learned_are_told(data, tiny, tmp_path):
    settings = {**QUICK, "context_init": "a photo", "lr": 1e-9, "class_specific": True}
    quick(data, tiny, settings=settings, shots="all", out=tmp_path / "run")
    page = write_report([tmp_path / "run"], tmp_path / "report.html").read_text()
    table = html.unescape(page[page.index("Words nearest") :])
    found = [re.findall(r"<td>(.*?) <small>([\d.]+)</small></td>", row) for row in table.split("<tr>")[2:4]]
    tokens = [tiny.tokenizer.tokenizer.decode([token]).strip() for token in tiny.tokenizer.plain("a photo")]
    assert [[word for word, _ in row] for row in found] == [[token] * len(NAMES) for token in tokens[:2]]
    assert {distance for row in found for _, distance in row} == {"0.00"}
    assert all(f'<th scope="col">{name}</th>' in table for name in NAMES)


def test_captions_are_reported_without_classes(tiny, caption_folder, tmp_path):
    quick(caption_folder, tiny, method="zero-shot", settings={}, shots="all", out=tmp_path / "run")
    text = write_report([tmp_path / "run"], tmp_path / "report.html").read_text()
    assert "Recall@K" in text
    assert "What is taken for what" not in text


def test_bad_input_is_one_line(runs, tmp_path):
    for words, told in (
        ((tmp_path / "none",), "there is no such run folder"),
        ((tmp_path,), "record.json"),
        ((runs / "linear-probe", "--out", tmp_path), "is a folder; name a file"),
    ):
        done = command("report", *words)
        assert done.code == 2
        assert told in " ".join(done.err.split())
        assert done.err.count("error:") == 1
    with pytest.raises(RunError, match="no run to report on"):
        write_report([], tmp_path / "report.html")


def test_the_command_says_where_the_page_is(runs, tmp_path):
    out = tmp_path / "pages" / "report.html"
    done = command("report", runs / "zero-shot", "--out", out, "--no-features")
    assert (done.code, done.err) == (0, "")
    assert f"{out} is the report" in done.out.replace("\n", "")
    assert out.read_text().startswith("<!doctype html>")


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_it_without_complaint(runs, tmp_path, width):
    page = write_report([runs / "linear-probe", runs / "zero-shot"], tmp_path / "report.html")
    with browse(page, width) as seen:
        assert seen.console == []
        assert seen.requests == []
        assert seen.broken == 0
        assert seen.overflow == 0
        assert "O'Brien" in seen.driver.page_source


@pytest.mark.slow
def test_many_classes_and_images_stay_small(runs, data, tmp_path):
    """A thousand classes and twenty thousand images."""
    run = shutil.copytree(runs / "linear-probe", tmp_path / "run")
    random = np.random.default_rng(0)
    classes, count = 1000, 20_000
    names = tuple(f"class {number}" for number in range(classes))
    labels = np.arange(count) % classes
    scores = random.random((count, classes)) ** 20
    scores[np.arange(count), labels] += random.random(count)
    scores /= scores.sum(1, keepdims=True)
    many = data.test.select(np.arange(count) % len(data.test))
    record = json.loads((run / "record.json").read_text())
    record["metrics"] = evaluate_classification(scores, labels, names, resamples=2)
    (run / "record.json").write_text(json.dumps(record))
    predicted = scores.argmax(1)
    found = {
        "label": [names[k] for k in labels],
        "predicted": [names[k] for k in predicted],
        "probability": scores.max(1),
    }
    keep_predictions(
        run, predictions_table(found | {f"p({name})": scores[:, k] for k, name in enumerate(names)}, many, "test")
    )
    page = write_report([run], tmp_path / "report.html")
    assert page.stat().st_size < 15e6
    assert "class 999" in page.read_text()


def test_the_model_gives_the_predictions_that_are_shown(runs, tiny):
    assert acclimate.load(runs / "zero-shot", tiny).predictions.num_rows == 18


def test_several_labels_are_reported_by_agreement(tiny, tmp_path):
    rows = ["path,label,split"]
    for number in range(24):
        picture(number % 3, number, seed=3).save(tmp_path / f"{number}.png")
        labels = [name for place, name in enumerate("abc") if (number >> place) % 2]
        rows.append(f"{number}.png,{'|'.join(labels) or '|'},{'test' if number % 3 == 0 else 'train'}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    data = load_data(tmp_path / "table.csv", multi_label=True)
    model = quick(data, tiny, method="kernel-ridge", settings={}, shots="all", out=tmp_path / "run")
    kept = model.predictions.to_pylist()
    assert [row["label"] for row in kept] == [data.test.column("label")[row] for row in range(len(data.test))]
    text = write_report([tmp_path / "run"], tmp_path / "report.html", features=False).read_text()
    assert "Worst labels" in text
    assert text.count("data:image/jpeg") == 2 * len(data.test)


def test_a_model_shows_itself_in_a_notebook(runs, tiny):
    model, record = (
        acclimate.load(runs / "linear-probe", tiny),
        json.loads((runs / "linear-probe/record.json").read_text()),
    )
    page = model._repr_html_()
    assert "<script" not in page
    text = html.unescape(page)
    assert f"linear-probe on '{tiny.name}'" in text
    assert all(name in text for name in NAMES)
    for metrics in (record["metrics"], record["baselines"]["zero-shot"]):
        point, low, high = (f"{100 * metrics['accuracy'][end]:.1f}" for end in ("value", "low", "high"))
        assert f">{point} [{low}, {high}]</td>" in page
    assert "all images, seed 1" in text
    assert verdict_sentence("linear-probe", record["verdict"]) in text
    other = acclimate.load(runs / "zero-shot", tiny).rebind(["<b>", "cat"])
    assert "<table" not in other._repr_html_()  # its figures are of other classes
    assert "2 classes: <b>, cat" in html.unescape(other._repr_html_())


def test_a_report_shows_itself_in_a_frame_of_a_notebook(runs, tmp_path):
    report = make_report([runs / "zero-shot"], features=False)
    shown = report._repr_html_()
    assert re.fullmatch(r'<iframe title="[^"<>]*" srcdoc="[^"<>]*" sandbox="" style="[^"]*"></iframe>', shown)
    assert html.unescape(shown).count(report.html) == 1
    assert report.save(tmp_path / "report.html").read_text() == report.html
    assert "Report('zero-shot on" in repr(report)


def test_a_folder_that_cannot_be_made_is_named(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file is a file; name a folder"):
        write_report([runs / "zero-shot"], tmp_path / "file" / "report.html", features=False)

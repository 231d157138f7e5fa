"""A job is its content: what decides the result is in its hash, where things lie and what they are called is not."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from acclimate.backbones import load_backbone
from acclimate.bench import Job
from acclimate.bench.facts import prompts_of
from acclimate.bench.jobs import load_source, plan
from acclimate.bench.work import Worker
from acclimate.data import freeze_splits, load_data
from acclimate.errors import AcclimateError, ConfigError, DataError
from tests.helpers.benches import COOP, entries, make_job, record, write_spec
from tests.helpers.killing import kill_at_files
from tests.helpers.pictures import make_pictures, make_split_pictures, picture
from tests.helpers.tiny_backbones import tiny_clip


def hashes(jobs):
    return {job.hash for job in jobs}


def test_the_hash_of_a_content_never_changes():
    """A stored value: with another one, every bench there is would begin anew."""
    assert make_job().hash == "996d7a2ff710cbbb"
    assert make_job(data="Süßwasser", shots="budget:64").hash == "f0a70fc54b7b2805"


def test_the_order_of_keys_the_label_and_the_name_of_the_backbone_do_not_matter():
    job = make_job()
    turned = {key: job.content[key] for key in reversed(job.content)}
    turned["protocol"] = dict(reversed(turned["protocol"].items()))
    assert Job(json.loads(json.dumps(turned)), "another label", "another/name").hash == job.hash


@pytest.mark.parametrize(
    "changes",
    [
        {"shots": 4},
        {"seed": 2},
        {"method": "kgcoop"},
        {"config": {"lr": 1e-3, "select": "last"}},
        {"protocol": {"name": "few-shot", "selection": "training-domain-validation"}},
        {"backbone": {"fingerprint": "a" * 32, "transform": "e" * 32}},
        {"precision": "bf16"},
        {"trial": "b"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_part_of_the_content_matters(changes):
    job = make_job()
    assert Job({**job.content, **changes}, job.label, job.backbone).hash != job.hash


def test_a_plan_has_every_combination_once(planned):
    few = {"protocol": "few-shot", "data": ["animals", "animals"]}
    jobs = planned(shots=[1, 2, 2], seeds=[1, 2, 3, 3], suites=[few, {"protocol": "base-to-novel", "data": "animals"}])
    assert len(jobs) == len(hashes(jobs)) == 2 * 2 * 2 * 3  # protocols, methods, shots, seeds
    assert {(job.run.protocol, job.label, job.run.shots, job.run.seed) for job in jobs} == {
        (protocol, label, shots, seed)
        for protocol in ("few-shot", "base-to-novel")
        for label in ("zero-shot", "coop")
        for shots in ("1", "2")
        for seed in (1, 2, 3)
    }
    assert jobs[0].describe() == "zero-shot, few-shot animals, 1 shot, seed 1"


def test_jobs_of_a_backbone_stand_together(spec, tiny_backbones):
    suites = [{"protocol": "few-shot", "data": "animals"}, {"protocol": "base-to-novel", "data": "animals"}]
    read = spec(backbones=["one", "two"], suites=suites)
    sets = {name: load_source(name, source) for name, source in read.data.items()}
    jobs = plan(read, {"one": tiny_backbones["clip"], "two": tiny_backbones["siglip"]}, sets)
    assert [job.backbone for job in jobs] == ["one"] * 8 + ["two"] * 8


def test_equal_settings_however_they_are_written(planned):
    written = {"method": "coop", "settings": {"epochs": "2", "context_tokens": 2, "batch_size": 8, "lr": 2e-3}}
    assert hashes(planned(methods=[COOP])) == hashes(planned(methods=[written]))


def test_places_and_labels_do_not_matter(planned, animals, tiny_folders, tmp_path):
    before = hashes(planned())
    moved = shutil.copytree(animals, tmp_path / "elsewhere/other name")
    assert hashes(planned(data={"animals": {"path": str(moved), "domain": "natural"}})) == before
    backbone = load_backbone(shutil.copytree(tiny_folders["clip"], tmp_path / "backbone"))
    assert hashes(planned(backbone, backbones=["elsewhere"])) == before
    labelled = [{"method": "zero-shot", "label": "frozen"}, {**COOP, "label": "learned"}]
    changed = planned(methods=labelled, title="another", metric="ece", reference="frozen")
    assert hashes(changed) == before
    assert {job.label for job in changed} == {"frozen", "learned"}


def test_the_data_matter(planned, animals, tmp_path):
    before = hashes(planned())

    def with_data(name, **source):
        return hashes(planned(data={"animals": {"path": str(tmp_path / name), "domain": "natural", **source}}))

    shutil.copytree(animals, tmp_path / "bytes")
    path = tmp_path / "bytes/test/cat/000.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # the same name and size
    path.write_bytes(content)
    assert not with_data("bytes") & before

    shutil.copytree(animals, tmp_path / "split")
    (tmp_path / "split/val/cat/000.png").rename(tmp_path / "split/train/cat/999.png")
    assert not with_data("split") & before

    shutil.copytree(animals, tmp_path / "more")
    picture(0, 99).save(tmp_path / "more/train/cat/099.png")
    assert not with_data("more") & before

    make_pictures(tmp_path / "made", per_class=10)
    assert not with_data("made") & with_data("made", split_seed=1)
    assert not with_data("made") & with_data("made", split_rule="greedy")
    greedy = load_data(tmp_path / "made", split_rule="greedy")
    parts = {name: greedy.split(name) for name in ("train", "val", "test")}
    freeze_splits(parts, tmp_path / "splits.json", seed=1, shots="all", digests=True, whole=greedy)
    kept = with_data("made", split_from=str(tmp_path / "splits.json"))
    assert kept == with_data("made", split_rule="greedy")
    shutil.copytree(animals, tmp_path / "same")
    assert not with_data("same", domain="satellite") & before
    assert not with_data("same", names={"mill": "wind mill"}) & before
    assert with_data("same") == before


def test_protocol_settings_backbone_and_precision_matter(planned, tmp_path):
    before = hashes(planned())
    suite = {"protocol": "few-shot", "data": "animals"}
    validated = planned(suites=[{**suite, "options": {"selection": "training-domain-validation"}}])
    assert not hashes(validated) & before
    assert len(hashes(planned(suites=[{**suite, "settings": {"coop": {"lr": 0.5}}}])) & before) == 2  # of zero-shot
    assert not hashes(planned(precision="bf16")) & before
    assert not hashes(planned(load_backbone(tiny_clip(tmp_path / "seed", seed=5)))) & before
    folder = tiny_clip(tmp_path / "transform")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}))
    assert not hashes(planned(load_backbone(folder))) & before


def test_the_protocol_chooses_the_epoch_of_those_that_keep_one(planned):
    suites = [{"protocol": "few-shot", "data": "animals", "options": {"selection": "training-domain-validation"}}]
    jobs = {job.label: job.content["config"] for job in planned(suites=suites)}
    assert jobs["coop"]["select"] == "best-val"
    assert "select" not in jobs["zero-shot"]
    methods = [{"method": "coop", "settings": {"select": "best-val"}}]
    with pytest.raises(ConfigError, match=r"^suites\[0\]: 'coop' sets select=best-val, but the protocol few-shot sel"):
        planned(methods=methods)
    assert len(planned(methods=methods, suites=suites)) == 2


def test_the_same_job_under_two_names(planned, spec, tiny):
    twice = [{**COOP, "label": "one"}, {**COOP, "label": "two"}]
    with pytest.raises(ConfigError, match=r"suites\[0\]: 'one' and 'two' are the same method with the same settings"):
        planned(methods=twice)
    with pytest.raises(ConfigError, match="the backbones 'one' and 'two' are the same"):
        planned(backbones=["one", "two"])


def test_two_jobs_under_the_same_name(planned):
    suite = {"protocol": "few-shot", "data": "animals"}
    changed = {**suite, "settings": {"coop": {"lr": 0.5}}}
    with pytest.raises(ConfigError, match=r"suites\[1\]: \(coop, few-shot animals, 2 shots, seed 1\) stands in an ea"):
        planned(suites=[suite, changed])
    relabelled = {**suite, "methods": [{"method": "coop", "label": "coop fast", "settings": {"lr": 0.5}}]}
    assert len(planned(suites=[suite, relabelled])) == 6
    assert len(planned(suites=[suite, {**changed, "shots": 1}])) == 8


def test_data_that_do_not_suit(planned, tmp_path):
    def refuse(words, protocol="few-shot", **source):
        with pytest.raises(AcclimateError, match=words):
            planned(
                data={"animals": {"path": str(tmp_path / "data"), **source}},
                suites=[{"protocol": protocol, "data": "animals"}],
            )

    refuse(r"data\.animals: .*no such file or folder")
    make_split_pictures(tmp_path / "data", splits={"train": 2, "val": 2})
    refuse(r"suites\[0\]: animals: no test image")
    refuse(r"suites\[0\]: animals: .* needs two domains or more", "leave-one-domain-out")
    refuse(r"suites\[0\]: .*base-to-novel needs 4 classes", "base-to-novel")
    refuse(r"suites\[0\]: cross-dataset needs two data sets", "cross-dataset")
    refuse(r"data\.animals: layout: heap is unknown", layout="heap")
    refuse(r"data\.animals: split_rule: greddy is unknown; say one of stable, greedy", split_rule="greddy")
    refuse(r"data\.animals: data gives a split, which is kept; leave split_from out", split_from=str(tmp_path))
    refuse(r"data\.animals: names: no class 'catt' in the data; did you mean 'cat'", names={"catt": "cat"})
    refuse(r"data\.animals: .*images_root", images_root=str(tmp_path / "nowhere"))


def test_the_python_of_the_page_runs(animals, tiny_folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path / "my_bench.yaml", entries(animals, tiny_folders["clip"], seeds=1))
    page = (Path(__file__).parents[2] / "docs/bench.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    exec(compile(block, "bench.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(" zero-shot, few-shot animals, 2 shots, seed 1 False")
    assert second.endswith(" coop, few-shot animals, 2 shots, seed 1 False")


@pytest.fixture
def shop(spec, tmp_path):
    """Where jobs of the small spec are done in this process."""

    def open_shop(**changes):
        return Worker(spec(**changes).data, tmp_path / "out", "cpu", None)

    return open_shop


def test_a_job_leaves_a_run_with_its_mark(planned, shop, tmp_path):
    job, out = planned(methods=[COOP])[0], tmp_path / "out"
    assert not job.is_done(out)
    shop().run(job)
    assert job.is_done(out)
    place = job.folder(out)
    expected = {"adapter.safetensors", "adapter.json", "record.json", "splits.json", "log.jsonl", "job.json", "done"}
    expected.add("predictions.parquet")
    assert {path.name for path in place.iterdir()} == expected
    assert json.loads((place / "job.json").read_text()) == job.content
    assert (place.parent.name, len(job.hash)) == ("jobs", 16)
    found = record(job, out)
    assert (found["method"], found["shots"], found["seed"], found["baselines"]) == ("coop", 2, 1, {})
    assert found["metrics"]["samples"] == 20
    assert json.loads((place / "adapter.json").read_text())["config"]["epochs"] == 2


@pytest.mark.slow
def test_a_lost_mark_costs_no_training(planned, shop, tmp_path):
    job, out = planned(methods=[COOP])[0], tmp_path / "out"
    shop().run(job)
    before = record(job, out)
    (job.folder(out) / "done").unlink()
    assert not job.is_done(out)
    shop().run(job)
    assert job.is_done(out)
    assert record(job, out) == before


@pytest.mark.slow
def test_a_killed_job_goes_on_and_tells_how_far_it_is(planned, shop, tmp_path, monkeypatch):
    """What a job was killed in the middle of is repeated or resumed; the result is that of an unbroken one."""
    monkeypatch.setattr("acclimate.bench.work.PULSE", 0.0)
    long = {**COOP, "settings": {**COOP["settings"], "epochs": 12}}
    job, out = planned(methods=[long])[0], tmp_path / "out"

    def stop(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop().run(job, stop)
    assert not job.is_done(out)
    assert (job.folder(out) / "log.jsonl").exists()
    shop().run(job)
    whole = Worker(shop().sources, tmp_path / "whole", "cpu", None)
    whole.run(job)
    for name in ("adapter.safetensors", "log.jsonl", "splits.json"):
        assert (job.folder(out) / name).read_bytes() == (job.folder(whole.out) / name).read_bytes()
    assert record(job, out)["metrics"] == record(job, whole.out)["metrics"]


PREPARE = """
from acclimate.bench import plan_bench, read_spec
from acclimate.bench.work import Worker

spec = read_spec(Path(inputs[0]))
(job,) = plan_bench(spec, "cpu")

def train(out):
    Worker(spec.data, Path(out), "cpu", None).run(job)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_job_killed_at_each_file_that_it_writes_in_the_end(animals, tiny_folders, tmp_path):
    content = entries(animals, tiny_folders["clip"], methods=[COOP], seeds=1)
    names = ["job.json", "adapter.safetensors", "adapter.json", "record.json", "remove checkpoint.safetensors"]
    assert kill_at_files(PREPARE, (write_spec(tmp_path / "spec.yaml", content),), names, tmp_path) == []
    assert len(list((tmp_path / "unbroken").rglob("done"))) == 1


def test_data_that_went_away(planned, shop, animals, tmp_path):
    moved = shutil.copytree(animals, tmp_path / "moved")
    source = {"animals": {"path": str(moved), "domain": "natural"}}
    job = planned(data=source)[0]
    closing = shop(data=source)
    shutil.rmtree(moved / "test")
    with pytest.raises(DataError, match=r"data\.animals: .*moved has changed since the bench began; start it again"):
        closing.run(job)
    assert not job.is_done(tmp_path / "out")
    shutil.rmtree(moved)
    with pytest.raises(ConfigError, match=r"data\.animals: .*no such file"):
        shop(data=source).run(job)


@pytest.mark.slow
def test_across_data_sets_each_has_its_own_words(planned, shop, animals, tmp_path):
    other = make_split_pictures(tmp_path / "other", ("tank", "land"), {"train": 2, "val": 1, "test": 3})
    changes = {
        "data": {
            "animals": {"path": str(animals), "domain": "natural", "names": {"mill": "large mill"}},
            "other": {"path": str(other), "domain": "satellite", "names": {"tank": "storage tank"}},
        },
        "methods": ["zero-shot", "linear-probe"],
        "seeds": 1,
        "suites": [{"protocol": "cross-dataset", "data": ["animals", "other"]}],
    }
    jobs = planned(**changes)
    assert {(job.run.data, job.run.trial, job.label) for job in jobs} == {
        (name, name, label) for name in ("animals", "other") for label in ("zero-shot", "linear-probe")
    }
    open_shop = shop(**changes)
    tests = {}
    for job in jobs:
        open_shop.run(job)
        tests[job.label, job.run.trial] = record(job, tmp_path / "out")["tests"]
        prompts = json.loads((job.folder(tmp_path / "out") / "adapter.json").read_text())["prompts"]
        assert prompts["domain"] == {"animals": "natural", "other": "satellite"}[job.run.trial]
        assert prompts["words"] == job.content["data"][job.run.trial]["names"]
    frozen = tests["zero-shot", "animals"], tests["zero-shot", "other"]
    assert frozen[0]["other"]["accuracy"] == frozen[1]["other"]["accuracy"]  # the same words, whoever trained
    assert frozen[0]["animals"]["nll"] == frozen[1]["animals"]["nll"]
    assert tests["linear-probe", "animals"]["other"] is None
    assert tests["linear-probe", "animals"]["animals"] is not None


@pytest.mark.slow
def test_sources_that_are_pooled_share_their_words(planned, shop, animals, tmp_path):
    other = make_split_pictures(tmp_path / "other", ("tank", "land"), {"train": 2, "val": 1, "test": 3})
    third = make_split_pictures(tmp_path / "third", ("a", "b"), {"train": 2, "val": 1, "test": 3})
    changes = {
        "data": {
            "animals": {"path": str(animals), "domain": "natural", "names": {"mill": "large mill"}},
            "other": {"path": str(other), "domain": "satellite", "names": {"tank": "storage tank"}},
            "third": {"path": str(third), "domain": "sar"},
        },
        "methods": ["zero-shot"],
        "seeds": 1,
        "suites": [
            {
                "protocol": "cross-dataset",
                "data": ["animals", "other", "third"],
                "options": {"sources": "animals+other"},
            }
        ],
    }
    (job,) = planned(**changes)
    shop(**changes).run(job)
    prompts = json.loads((job.folder(tmp_path / "out") / "adapter.json").read_text())["prompts"]
    assert prompts["words"] == {"mill": "large mill", "tank": "storage tank"}
    assert set(record(job, tmp_path / "out")["tests"]) == {"animals+other", "third"}


def test_templates_of_a_data_set_are_part_of_its_jobs_and_only_where_they_are_given(planned, animals):
    own = {"path": str(animals), "domain": "natural", "templates": "a drawing of a {}."}
    plain, drawn = planned(), planned(data={"animals": own})
    assert not hashes(plain) & hashes(drawn)
    assert all("templates" not in job.content["data"]["animals"] for job in plain)
    facts = drawn[0].content["data"]
    assert facts["animals"]["templates"] == ["a drawing of a {}."]
    assert prompts_of(facts, ["animals"]).sentences(["cat"]) == ["a drawing of a cat."]
    assert prompts_of(facts, ["animals"]).ensemble(["cat"]) == [["a drawing of a cat."]]
    assert hashes(planned(data={"animals": {**own, "templates": ["a  drawing of a {}."]}})) == hashes(drawn)


def test_templates_of_a_method_win_over_those_of_a_data_set(planned, animals):
    """Its jobs are those of a bench whose data set has them."""
    own = {"path": str(animals), "domain": "natural", "templates": "a drawing of a {}."}
    bare = {"path": str(animals), "domain": "natural"}

    def of(templates, data):
        entry = {"method": "zero-shot", **({} if templates is None else {"templates": templates})}
        return hashes(planned(data={"animals": data}, methods=[entry]))

    assert of("domain", own) == of(None, bare) != of(None, own)
    assert of("a drawing of a {}.", bare) == of(None, own) == of(["a drawing of a {}."], own)
    with pytest.raises(ConfigError, match=r"methods\[0\].templates: sentence: 'a drawing' must contain {} once"):
        of("a drawing", own)

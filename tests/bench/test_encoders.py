"""Methods that read a domain encoder: which one a job has, and what of it is in its hash."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from acclimate.bench import plan_bench, read_spec, run_bench
from acclimate.bench.jobs import load_source, plan
from acclimate.bench.spec import Source
from acclimate.bench.work import Worker
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import AcclimateError, ConfigError
from acclimate.runs.pretraining import pretrain_mae
from tests.helpers.benches import Notes, entries, record, write_spec
from tests.helpers.pictures import make_split_pictures
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_mae import SMALL as SMALL_MAE

GDPL = {"method": "gdpl", "settings": {"epochs": 1, "batch_size": 8}}
SMALL = {"train": 2, "val": 1, "test": 3}
CROSS = {"protocol": "cross-dataset", "data": ["animals", "other"]}


def gdpl(label="gdpl", **entries):
    return {**GDPL, "label": label, **entries}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """A folder with an encoder of its own for each of two data sets, and the same again under another name."""
    root = tmp_path_factory.mktemp("encoders")
    for seed, name in enumerate(("animals", "other"), start=11):
        tiny_clip(root / name, seed=seed)
        shutil.copytree(root / name, root / f"{name}-copy")
    return root


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A second data set."""
    return make_split_pictures(tmp_path_factory.mktemp("bench") / "other", ("a", "b"), SMALL)


@pytest.fixture
def jobs(spec, tiny, animals, other, encoders, monkeypatch):
    """The jobs of a bench on two data sets, planned where the encoders lie; one method, if no other is given."""
    monkeypatch.chdir(encoders)

    def make(*methods, sets=("animals",), given=None, backbones=("tiny",), **changes):
        folders = {"animals": animals, "other": other}
        data = {name: {"path": str(folders[name]), "domain": "natural", **(given or {}).get(name, {})} for name in sets}
        suites = [{"protocol": "few-shot", "data": list(sets)}]
        changes = {"methods": list(methods or [gdpl()]), "seeds": 1, "suites": suites, **changes}
        read = spec(data=data, backbones=list(backbones), **changes)
        loaded = {name: load_source(name, source) for name, source in read.data.items()}
        return plan(read, backbones if isinstance(backbones, dict) else dict.fromkeys(backbones, tiny), loaded)

    return make


def names(jobs):
    return {(job.label, job.run.trial): job.domain_encoder for job in jobs}


def test_a_method_wins_over_its_data_set_and_that_over_the_top(jobs):
    given = {"other": {"domain_encoder": "animals"}}
    planned = jobs(
        gdpl(), gdpl("self", domain_encoder="self"), "zero-shot", sets=("animals", "other"), given=given,
        domain_encoder="{data}-copy",
    )  # fmt: skip
    assert names(planned) == {
        ("gdpl", "animals"): "animals-copy",
        ("gdpl", "other"): "animals",
        ("self", "animals"): "self",
        ("self", "other"): "self",
        ("zero-shot", "animals"): None,
        ("zero-shot", "other"): None,
    }
    assert all(("domain_encoder" in job.content) == (job.label != "zero-shot") for job in planned)
    assert names(jobs(gdpl(domain_encoder="{data}"), sets=("animals", "other"), given=given)) == {
        ("gdpl", "animals"): "animals",
        ("gdpl", "other"): "other",
    }


def test_weights_and_transform_are_in_the_hash_and_places_are_not(jobs, encoders, tmp_path):
    (job,) = jobs(domain_encoder="animals")
    content = job.content["domain_encoder"]
    assert set(content) == {"fingerprint", "transform", "identity"}  # the last for its narrow attention heads
    assert jobs(domain_encoder="animals-copy")[0].hash == job.hash
    others = {job.hash, jobs(domain_encoder="other")[0].hash, jobs(domain_encoder="self")[0].hash}
    folder = shutil.copytree(encoders / "animals", tmp_path / "transform")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}))
    others.add(jobs(domain_encoder=str(folder))[0].hash)
    folder = shutil.copytree(encoders / "animals", tmp_path / "activation")
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('"quick_gelu"', '"relu"'))
    assert len(others | {jobs(domain_encoder=str(folder))[0].hash}) == 5


def test_an_encoder_changes_no_job_that_does_not_read_it(jobs):
    frozen = ["zero-shot", gdpl("idle", settings={**GDPL["settings"], "conditioning": "none", "image_bias": False})]
    before = [job.hash for job in jobs(*frozen)]
    assert [job.hash for job in jobs(*frozen, domain_encoder="nowhere")] == before


@pytest.fixture
def two_backbones(tiny_backbones):
    return {family: tiny_backbones[family] for family in ("clip", "siglip")}


def test_self_is_another_encoder_for_each_backbone(jobs, two_backbones):
    one, two = jobs(domain_encoder="self", backbones=two_backbones)
    assert one.content["domain_encoder"] != two.content["domain_encoder"]


def test_each_encoder_is_loaded_once(jobs, two_backbones, monkeypatch):
    from acclimate.backbones import domain_encoder

    load, loaded = domain_encoder.load_domain_encoder, []

    def count(name, **options):
        loaded.append(name)
        return load(name, **options)

    monkeypatch.setattr(domain_encoder, "load_domain_encoder", count)
    planned = jobs(
        gdpl(), gdpl("self", domain_encoder="self"), "zero-shot", sets=("animals", "other"), seeds=[1, 2],
        domain_encoder="{data}", backbones=two_backbones,
    )  # fmt: skip
    assert len(planned) == 2 * 2 * 2 * 3
    assert sorted(loaded) == ["animals", "other", "self", "self"]


def test_across_data_sets_the_encoder_is_that_of_the_source(jobs):
    sets = {"sets": ("animals", "other"), "suites": [CROSS]}
    assert names(jobs(**sets, domain_encoder="{data}")) == {("gdpl", "animals"): "animals", ("gdpl", "other"): "other"}
    one_source = [{**CROSS, "options": {"sources": "other"}}]
    given = {"other": {"domain_encoder": "animals-copy"}}  # the target needs none
    assert names(jobs(sets=sets["sets"], suites=one_source, given=given)) == {("gdpl", "other"): "animals-copy"}


def test_pooled_sources_must_agree(jobs, spec, tmp_path, tiny):
    third = make_split_pictures(tmp_path / "third", ("x", "y"), SMALL)

    def sources(**methods):
        paths = {name: {"path": str(third), "domain": "natural"} for name in ("animals", "other", "third")}
        suite = {"protocol": "cross-dataset", "data": [*paths], "options": {"sources": "animals+other"}}
        read = spec(data=paths, methods=[gdpl(**methods)], suites=[suite], seeds=1, domain_encoder="{data}")
        return plan(read, dict.fromkeys(read.backbones, tiny), {n: load_source(n, s) for n, s in read.data.items()})

    jobs("zero-shot")  # goes to where the encoders lie
    with pytest.raises(ConfigError) as raised:
        sources()
    assert str(raised.value) == (
        "suites[0]: 'gdpl' learns from animals and other, which have different domain encoders (animals: animals, "
        "other: other); write one for all in the entry of the method (domain_encoder)"
    )
    assert names(sources(domain_encoder="self")) == {("gdpl", "animals+other"): "self"}


def test_a_method_that_lacks_its_encoder(jobs):
    with pytest.raises(ConfigError) as raised:
        jobs("zero-shot", gdpl("ours"), sets=("animals", "other"), given={"animals": {"domain_encoder": "self"}})
    assert str(raised.value).startswith(
        "suites[0]: 'ours' reads a domain encoder, and the data set 'other' names none; write data.other.domain_encoder"
    )
    assert "\n" not in str(raised.value)


def test_a_method_that_has_one_of_its_own_where_none_is_named(jobs):
    """The epoch is chosen by the rule of the protocol there, whatever the method does elsewhere."""
    (one,) = jobs({"method": "fine-tune"})
    assert (one.domain_encoder, one.content["config"]["select"]) == ("self", "last")
    (named,) = jobs({"method": "fine-tune", "domain_encoder": "animals"})
    assert (named.domain_encoder, named.hash == one.hash) == ("animals", False)


def test_an_encoder_that_cannot_be_loaded(jobs):
    with pytest.raises(ConfigError) as raised:
        jobs(domain_encoder="./nowhere/{data}")
    assert str(raised.value).startswith("suites[0]: domain_encoder of 'gdpl' on animals: ")
    assert "nowhere/animals" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_encoder_that_has_seen_what_is_measured_is_refused_before_anything_runs(jobs, animals, tmp_path):
    data, quick = load_unlabelled(animals), {"settings": {**SMALL_MAE, "epochs": 0}, "domain": "natural"}
    for part in ("train", "all"):
        pretrain_mae(data, tmp_path / part, split=part, device="cpu", **quick)
    jobs(gdpl(domain_encoder=str(tmp_path / "train")))
    with pytest.raises(ConfigError) as raised:
        jobs(gdpl(domain_encoder=str(tmp_path / "all")))
    assert str(raised.value) == (
        f"suites[0]: domain_encoder of 'gdpl' on animals: animals: domain_encoder: {tmp_path / 'all'} has learned from "
        f"{len(load_source('animals', Source(animals)).test)} of the "
        f"{len(load_source('animals', Source(animals)).test)} test images, such as "
        f"{load_source('animals', Source(animals)).test.keys[0]}; name another one, for it "
        "has learned from all images of its data"
    )


def test_a_domain_that_is_left_out_may_not_have_been_pretrained_on(jobs, tmp_path):
    """The split of the data is not that of the protocol: all of a domain is measured, its training images too."""
    folder = make_split_pictures(tmp_path / "data", ("cat", "dog"), {"north": 6, "south": 6})
    data = load_unlabelled(folder, layout="domain/class")
    settings = {"settings": {**SMALL_MAE, "epochs": 0}, "domain": "natural", "device": "cpu"}
    pretrain_mae(data, tmp_path / "both", **settings)
    pretrain_mae(data.filter_domains(["north"]), tmp_path / "north", **settings)
    suites = [{"protocol": "leave-one-domain-out", "data": ["other"]}]
    given = {"other": {"path": str(folder), "layout": "domain/class"}}
    with pytest.raises(ConfigError, match=r"has learned from \d of the 12 test images"):
        jobs(gdpl(domain_encoder=str(tmp_path / "both")), sets=("other",), suites=suites, given=given)
    with pytest.raises(ConfigError, match=r"north has learned from \d of the 12 test images, such as north/"):
        jobs(gdpl(domain_encoder=str(tmp_path / "north")), sets=("other",), suites=suites, given=given)
    single = [{"protocol": "single-source", "data": ["other"]}]
    with pytest.raises(ConfigError, match=r"such as north/"):
        jobs(gdpl(domain_encoder=str(tmp_path / "north")), sets=("other",), suites=single, given=given)
    assert jobs(gdpl(domain_encoder="self"), sets=("other",), suites=suites, given=given)


def test_rows_that_differ_by_their_encoder_only(jobs):
    own, copy = gdpl(), gdpl("copy", domain_encoder="animals-copy")
    assert len(jobs(own, gdpl("other", domain_encoder="other"), domain_encoder="animals")) == 2
    with pytest.raises(ConfigError) as raised:
        jobs(own, copy, domain_encoder="animals")
    assert str(raised.value) == (
        "suites[0]: 'gdpl' and 'copy' are the same method with the same settings and the same domain encoder; drop one "
        "of them"
    )
    few = {"protocol": "few-shot", "data": "animals"}
    again = {**few, "methods": [gdpl(domain_encoder="other")]}
    with pytest.raises(ConfigError, match="stands in an earlier suite with other settings, options or domain encoder"):
        jobs(own, suites=[few, again], domain_encoder="animals")


def test_settings_of_a_suite_keep_the_encoder(jobs):
    suites = [{"protocol": "few-shot", "data": "animals", "settings": {"gdpl": {"epochs": 2}}}]
    (job,) = jobs(gdpl(domain_encoder="other"), suites=suites)
    assert (job.domain_encoder, job.content["config"]["epochs"]) == ("other", 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"domain_encoder": None}, "domain_encoder: give text, not None"),
        ({"domain_encoder": ["self"]}, "domain_encoder: give text"),
        (
            {"domain_encoder": "runs/{set}"},
            "domain_encoder: '{set}' in 'runs/{set}' stands for nothing; {data} is the name of the data set",
        ),
        ({"data": {"animals": {"path": "x", "domain_encoder": "{data"}}}, "data.animals.domain_encoder: '{' in"),
        ({"data": {"animals": {"path": "x", "domain_encoders": "x"}}}, "did you mean 'domain_encoder'?"),
        ({"methods": [gdpl(domain_encoder=["x"])]}, "methods[0].domain_encoder: give text"),
        ({"methods": [{"method": "coop", "domain_encoder": "self"}]}, "methods[0]: coop reads no domain encoder"),
        (
            {
                "methods": [gdpl(domain_encoder="self")],
                "suites": [
                    {
                        "protocol": "few-shot",
                        "data": "animals",
                        "settings": {"gdpl": {"conditioning": "none", "image_bias": False}},
                    }
                ],
            },
            "suites[0].settings.gdpl: gdpl reads no domain encoder with these settings; drop domain_encoder",
        ),
    ],
)  # fmt: skip
def test_entries_that_are_wrong(spec, tmp_path, changes, words):
    with pytest.raises(ConfigError) as raised:
        spec(**changes)
    assert str(raised.value).startswith(f"{tmp_path / 'spec.yaml'}: ")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_spec_of_the_page_can_be_read(tmp_path):
    page = (Path(__file__).parents[2] / "docs/bench.md").read_text(encoding="utf-8")
    block = re.search(r"^### Domain encoders$.*?^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    suites = "suites: [{protocol: few-shot, data: [aid, lithology, scans]}]\n"
    read = read_spec(write_spec(tmp_path / "spec.yaml", block + suites))
    assert {name: source.domain_encoder for name, source in read.data.items()} == {
        "aid": "runs/mae/{data}",
        "lithology": "runs/mae/{data}",
        "scans": "organisation/model",
    }
    assert [contender.domain_encoder for contender in read.suites[0].contenders] == [
        None,
        None,
        "self",
        "runs/mae/{data}-untrained",
    ]


@pytest.mark.slow
def test_a_job_is_done_with_its_encoder(jobs, spec, encoders, tmp_path):
    folder = shutil.copytree(encoders / "animals", tmp_path / "encoder")
    given = {"animals": {"domain_encoder": str(folder)}}
    own, control = jobs(gdpl(), gdpl("self", domain_encoder="self"), given=given, backbones=spec().backbones)
    shop = Worker(spec().data, tmp_path / "out", "cpu", None)
    for job in (own, control):
        shop.run(job)
        adapter = json.loads((job.folder(shop.out) / "adapter.json").read_text())
        assert adapter["domain_encoder"]["fingerprint"] == job.content["domain_encoder"]["fingerprint"]
        assert record(job, shop.out)["metrics"]["samples"] == 20
    shutil.rmtree(folder)
    shutil.copytree(encoders / "other", folder)
    with pytest.raises(AcclimateError, match=r"domain_encoder .*encoder has changed since the bench began; start"):
        Worker(spec().data, tmp_path / "again", "cpu", None).run(own)


@pytest.mark.slow
def test_processes_find_the_encoders(animals, tiny_folders, encoders, tmp_path, monkeypatch):
    monkeypatch.chdir(encoders)
    content = entries(animals, tiny_folders["clip"], methods=[gdpl()], seeds=1, domain_encoder="{data}")
    read = read_spec(write_spec(tmp_path / "spec.yaml", content))
    planned, notes = plan_bench(read, "cpu"), Notes()
    outcome = run_bench(read, planned, tmp_path / "out", notes, device="cpu")
    assert notes.broken == {}
    assert [job.is_done(tmp_path / "out") for job in planned] == [True]
    assert outcome.failures == []

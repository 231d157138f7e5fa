"""Methods that learn from reference prompts: which ones a job has, and what of them is in its hash."""

from __future__ import annotations

import json

import pytest

from acclimate.bench.jobs import load_source, plan
from acclimate.bench.work import Worker
from acclimate.errors import ConfigError, DataError
from tests.helpers.benches import record

AAPE = {"method": "aape", "settings": {"epochs": 1, "batch_size": 8}}


@pytest.fixture
def sentences(animals, tmp_path):
    """Files of sentences for the classes of the data set; two of them say the same."""
    classes = sorted(path.name for path in (animals / "train").iterdir())
    for name, words in (("one", "first"), ("same", "first"), ("two", "second")):
        content = {label: [f"{words} {label}", f"a {label}"] for label in classes}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def jobs(spec, tiny, animals, sentences, monkeypatch):
    monkeypatch.chdir(sentences)

    def make(*methods, given=None, backbones=("tiny",), **changes):
        data = {"animals": {"path": str(animals), "domain": "natural", **(given or {})}}
        suites = [{"protocol": "few-shot", "data": ["animals"]}]
        read = spec(data=data, backbones=list(backbones), methods=list(methods), seeds=1, suites=suites, **changes)
        sets = {name: load_source(name, source) for name, source in read.data.items()}
        return plan(read, dict.fromkeys(backbones, tiny), sets)

    return make


def aape(label="aape", **entries):
    return {**AAPE, "label": label, **entries}


def test_a_method_wins_over_its_data_set_and_that_over_the_top(jobs):
    methods = (aape(), aape("own", reference_prompts="two.json"), "zero-shot")
    planned = jobs(*methods, given={"reference_prompts": "one.json"}, reference_prompts="none.json")
    found = {job.label: job.reference_prompts for job in planned}
    assert found == {"aape": "one.json", "own": "two.json", "zero-shot": None}
    assert [job.label for job in planned if "reference_prompts" in job.content] == ["aape", "own"]


def test_the_name_of_the_data_set(jobs, sentences):
    (sentences / "one.json").rename(sentences / "animals-prompts.json")
    (job,) = jobs(aape(), reference_prompts="{data}-prompts.json")
    assert job.reference_prompts == "animals-prompts.json"


def test_sentences_are_in_the_hash_and_places_are_not(jobs):
    one, same, two = (jobs(aape(reference_prompts=f"{name}.json"))[0].hash for name in ("one", "same", "two"))
    (bank,) = jobs(aape())
    assert one == same
    assert len({one, two, bank.hash}) == 3
    assert bank.reference_prompts is None


def test_no_prompts_where_nothing_is_distilled(jobs):
    (job,) = jobs(aape(settings={**AAPE["settings"], "distillation_weight": 0}), reference_prompts="none.json")
    assert "reference_prompts" not in job.content


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (aape(reference_prompts="none.json"), "reference_prompts of 'aape' on animals: cannot read none.json"),
        ({"method": "coop", "reference_prompts": "one.json"}, "coop learns from no reference prompts"),
        (aape(reference_prompts="{set}.json"), "'{set}' in '{set}.json' stands for nothing"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(jobs, method, said):
    with pytest.raises(ConfigError) as error:
        jobs(method)
    assert said in str(error.value)


@pytest.mark.slow
def test_a_job_is_done_with_its_sentences(jobs, spec, sentences, tmp_path):
    told, bank = jobs(aape("told", reference_prompts="one.json"), aape("bank"), backbones=spec().backbones)
    shop = Worker(spec().data, tmp_path / "out", "cpu", None)
    for job, source in ((told, "one.json"), (bank, "bank")):
        shop.run(job)
        assert record(job, shop.out)["reference_prompts"]["source"] == source
    (sentences / "one.json").write_text((sentences / "two.json").read_text())
    with pytest.raises(DataError, match=r"one\.json: the reference prompts have changed since the bench began; start"):
        Worker(spec().data, tmp_path / "again", "cpu", None).run(told)

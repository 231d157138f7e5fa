"""Jobs that build on the same runs learn them once, whatever is held out and whichever process comes first."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from acclimate.bench import Pool, plan_bench, run_bench
from acclimate.bench.work import Worker
from acclimate.errors import ConfigError, DataError
from tests.helpers.benches import Notes, record
from tests.helpers.pictures import make_split_pictures

DOMAINS = ("day", "dusk", "night")
QUICK = {"label_epochs": 2, "epochs": 2, "context_tokens": 2}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Pictures of three classes in three domains, in folders domain/class."""
    return make_split_pictures(tmp_path_factory.mktemp("scenes") / "scenes", splits=dict.fromkeys(DOMAINS, 8))


def test_a_label_is_learned_once_whatever_is_held_out(spec, scenes, tmp_path):
    read = spec(
        data={"scenes": {"path": str(scenes), "layout": "domain/class", "domain": "natural"}},
        methods=[{"method": "spg", "settings": {**QUICK, "generator": "mean"}}],
        suites=[{"protocol": "leave-one-domain-out", "data": "scenes"}],
        shots="all",
        seeds=[1],
    )
    jobs, shop = plan_bench(read, "cpu"), Worker(read.data, tmp_path / "out", "cpu", None)
    for job in jobs:
        shop.run(job)
    labels = [path for path in (shop.out / "prerequisites").iterdir() if path.is_dir()]
    assert len(labels) == len(jobs) == len(DOMAINS)
    for job in jobs:
        assert set(record(job, shop.out)["prerequisites"]) == {*DOMAINS} - {job.content["trial"]}


@pytest.mark.slow
def test_labels_of_domains_serve_all_jobs(spec, scenes, tmp_path):
    read = spec(
        data={"scenes": {"path": str(scenes), "layout": "domain/class", "domain": "natural"}},
        methods=[
            {"method": "spg", "label": "mean", "settings": {**QUICK, "generator": "mean", "label_seed": 1}},
            {"method": "spg", "settings": {**QUICK, "label_seed": 1}},
        ],
        suites=[{"protocol": "leave-one-domain-out", "data": "scenes"}],
        shots="all",
    )
    jobs, out = plan_bench(read, "cpu"), tmp_path / "out"
    assert len(jobs) == 2 * 3 * 2  # methods, held-out domains, seeds
    outcome = run_bench(read, jobs, out, Notes(), launcher=Pool(2), device="cpu")
    assert outcome.failures == []
    labels = [path for path in (out / "prerequisites").iterdir() if path.is_dir()]
    assert len(labels) == len(DOMAINS)
    known = {json.loads((label / "record.json").read_text())["identity"] for label in labels}
    for job in jobs:
        found = record(job, out)["prerequisites"]
        assert set(found) == {*DOMAINS} - {job.content["trial"]}
        assert {one["identity"] for one in found.values()} <= known
    assert run_bench(read, jobs, out, Notes(), device="cpu").scores == outcome.scores


@pytest.fixture
def write_label(tiny, tmp_path):
    """Write the prompt label of a domain, all numbers the same."""

    def write(domain, value):
        save_file({"context": torch.full((4, tiny.text_width), value)}, tmp_path / f"{domain}.safetensors")

    return write


@pytest.fixture
def with_given_labels(spec, scenes, tmp_path):
    """A spec of a method that is given its prompt labels."""
    settings = {**QUICK, "generator": "mean", "label_files": str(tmp_path)}
    return spec(
        data={"scenes": {"path": str(scenes), "layout": "domain/class", "domain": "natural"}},
        methods=[{"method": "spg", "settings": settings}],
        suites=[{"protocol": "leave-one-domain-out", "data": "scenes"}],
        shots="all",
        seeds=[1],
    )


def test_given_labels_identify_a_job_by_what_they_hold(with_given_labels, write_label):
    def hashes():
        return {job.content["trial"]: job.hash for job in plan_bench(with_given_labels, "cpu")}

    write_label("day", 0.1)
    write_label("night", 0.2)
    with pytest.raises(
        ConfigError, match=r"suites\[0\]: .*: no prompt label of the domain 'dusk'; give one file for each"
    ):
        hashes()
    write_label("dusk", 0.3)
    first = hashes()
    assert hashes() == first
    write_label("dusk", 0.4)
    second = hashes()
    assert {trial for trial in first if first[trial] != second[trial]} == {"day", "night"}


def test_given_labels_that_change_while_a_bench_runs(with_given_labels, write_label, tmp_path):
    for domain in DOMAINS:
        write_label(domain, 0.1)
    jobs = {job.content["trial"]: job for job in plan_bench(with_given_labels, "cpu")}
    write_label("dusk", 0.4)
    shop = Worker(with_given_labels.data, tmp_path / "out", "cpu", None)
    shop.run(jobs["dusk"])  # learns from the others
    assert set(record(jobs["dusk"], shop.out)["prerequisites"]) == {"day", "night"}
    with pytest.raises(
        DataError, match=r"the prompt label of 'dusk' has changed since the bench began; start it again"
    ):
        shop.run(jobs["day"])
    assert not jobs["day"].is_done(shop.out)


def test_data_without_domains_are_refused_before_anything_runs(spec):
    read = spec(methods=[{"method": "spg", "settings": QUICK}])
    with pytest.raises(
        ConfigError, match=r"suites\[0\]: spg learns one prompt for each domain, and these .* name none"
    ):
        plan_bench(read, "cpu")

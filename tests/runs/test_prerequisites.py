"""Runs that build on other runs: learned once, kept, found again, and never mixed up."""

from __future__ import annotations

import csv
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
import torch

import acclimate
from acclimate.errors import ConfigError, DataError
from acclimate.prompts import PromptSet
from acclimate.protocols import LeaveOneDomainOut, SingleSource
from acclimate.runs import RunOptions, adapt_trial
from acclimate.runs.prediction_files import open_writer
from acclimate.training.progress import Silent
from tests.helpers.pictures import with_domains
from tests.helpers.runs import quick

DOMAINS = ("day", "dusk", "night")
SETTINGS = {"label_epochs": 2, "epochs": 2, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def scenes(pictures):
    return with_domains(pictures, DOMAINS)


def learn(scenes, tiny, target, protocol=None, seed=1, settings=None, **options):
    protocol = protocol or LeaveOneDomainOut()
    trial = protocol.draw(target, {scenes.name: scenes}, "all", seed)
    settings = {**SETTINGS, **(settings or {})}
    return adapt_trial(
        trial,
        "spg",
        tiny,
        RunOptions(**options),
        prompts=PromptSet("natural"),
        shots="all",
        seed=seed,
        settings=settings,
    )


def folders(store):
    return sorted(path.name for path in store.iterdir() if path.is_dir())


def test_a_label_serves_every_target_that_does_not_hold_it(scenes, tiny, tmp_path):
    for target in DOMAINS:
        learn(scenes, tiny, target, out=tmp_path / target, shared=tmp_path / "shared")
    assert len(folders(tmp_path / "shared")) == len(DOMAINS)  # and not two for each of three targets
    records = [json.loads((tmp_path / target / "record.json").read_text()) for target in DOMAINS]
    assert [sorted(record["prerequisites"]) for record in records] == [
        ["dusk", "night"],
        ["day", "night"],
        ["day", "dusk"],
    ]
    assert records[0]["prerequisites"]["night"] == records[1]["prerequisites"]["night"]
    label = records[0]["prerequisites"]["night"]
    assert (label["method"], label["seed"]) == ("coop", 1)
    assert 0 <= label["val_accuracy"] <= 1


def test_a_label_is_an_ordinary_run(scenes, tiny, tmp_path):
    model = learn(scenes, tiny, "day", out=tmp_path / "run")
    store = tmp_path / "run" / "prerequisites"
    assert len(folders(store)) == 2
    found = {}
    for name in folders(store):
        coop = acclimate.load(store / name, tiny)
        assert coop.record["backbone"]["fingerprint"] == tiny.fingerprint
        assert (store / name / "adapter.safetensors").stat().st_size < 4 * coop.method.context.numel() + 200
        splits = json.loads((store / name / "splits.json").read_text())["splits"]
        (domain,) = {row["domain"] for part in splits.values() for row in part}
        found[domain] = coop.method.context
    labels = model.method.labels.values
    assert torch.equal(labels, torch.stack([found[name] for name in ("dusk", "night")]))
    loaded = acclimate.load(tmp_path / "run", tiny)
    assert torch.equal(loaded.method.labels.values, labels)
    assert loaded.evaluate(scenes.test) == model.evaluate(scenes.test)


@pytest.mark.parametrize(("label_seed", "labels"), [(None, 4), (7, 2)])
def test_seeds(scenes, tiny, tmp_path, label_seed, labels):
    for seed in (1, 2):
        settings = {"label_seed": label_seed}
        model = learn(scenes, tiny, "day", seed=seed, settings=settings, shared=tmp_path / "shared")
        assert {one["seed"] for one in model.record["prerequisites"].values()} == {label_seed or seed}
    assert len(folders(tmp_path / "shared")) == labels


def test_the_same_seed_gives_the_same_tensors(scenes, tiny, tmp_path):
    random = {"context_init": None}
    one, two, other = (learn(scenes, tiny, "day", seed=s, settings=random).method.learned_state() for s in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in ("labels.values", "source.generator.0.weight"))


def test_two_runs_at_a_time_learn_a_label_once(scenes, tiny, tmp_path):
    class Counting(Silent):
        def __init__(self):
            self.tasks = []

        def start(self, task, total):
            self.tasks.append(task)

    progress = Counting()
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(learn, scenes, tiny, "day", out=tmp_path / name, shared=tmp_path / "shared", progress=progress)
            for name in ("one", "two")
        ]
        for job in jobs:
            job.result()
    assert progress.tasks.count("coop") == 2  # one for each of two domains
    assert progress.tasks.count("gan") == 2


class Interrupted(Exception):
    pass


class StopIn(Silent):
    """Raises at step `step` of the task `name`, counted over all that have this name."""

    def __init__(self, name, step):
        self.name, self.left, self.task = name, step, None

    def start(self, task, total):
        self.task = task

    def advance(self, amount=1, **figures):
        if self.task == self.name and not figures and amount:
            if self.left == 0:
                raise Interrupted
            self.left -= amount


@pytest.mark.parametrize(
    ("task", "step"),
    [
        ("coop", 1),
        pytest.param("coop", 3, marks=pytest.mark.slow),
        pytest.param("gan", 0, marks=pytest.mark.slow),
        ("gan", 1),
    ],
)
def test_a_run_that_is_interrupted_in_any_of_its_stages_goes_on(scenes, tiny, tmp_path, task, step):
    unbroken = learn(scenes, tiny, "day", out=tmp_path / "one", settings={"batch_size": 4})
    options = {"out": tmp_path / "two", "settings": {"batch_size": 4}, "checkpoint_seconds": 0.0}
    with pytest.raises(Interrupted):
        learn(scenes, tiny, "day", progress=StopIn(task, step), **options)
    resumed = learn(scenes, tiny, "day", **options)
    expected = unbroken.method.learned_state()
    assert expected.keys() == resumed.method.learned_state().keys()
    for name, tensor in resumed.method.learned_state().items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.journal == unbroken.journal


def test_the_spread_of_several_draws_is_in_the_predictions(scenes, tiny, tmp_path):
    model = learn(scenes, tiny, "day", settings={"test_noise": "mean", "noise_draws": 3, "label_lr": 0.5})
    rows = list(model.predict(scenes.test.paths, batch_size=4))
    assert all(0 <= row.spread <= 0.6 for row in rows)
    assert max(row.spread for row in rows) > 1e-6
    for suffix in ("csv", "jsonl", "parquet"):
        writer = open_writer(tmp_path / f"x.{suffix}", model.task.columns(model.method))
        for row in rows:
            writer.write(model.task.row(model.method, row))
        writer.close()
    with (tmp_path / "x.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [*table[0]] == ["path", "label", "probability", "spread", *(f"p({c})" for c in model.class_names), "error"]
    assert [float(row["spread"]) for row in table] == [row.spread for row in rows]
    assert pq.read_table(tmp_path / "x.parquet")["spread"].to_pylist() == [row.spread for row in rows]
    one = learn(scenes, tiny, "day")
    assert not one.method.predicts_spread
    assert next(iter(one.predict(scenes.test.paths))).spread is None


def test_single_source(scenes, tiny, caplog):
    with caplog.at_level(logging.WARNING):
        model = learn(scenes, tiny, "day", protocol=SingleSource())
    assert list(model.record["prerequisites"]) == ["day"]
    assert "one domain to learn from, 'day'" in caplog.text
    assert {"dusk", "night"} <= model.record["tests"].keys()


def test_without_domains(pictures, tiny):
    with pytest.raises(ConfigError, match="spg learns one prompt for each domain, and these training images name none"):
        quick(pictures, tiny, method="spg", settings={})


def test_images_without_a_domain(pictures, tiny):
    some = with_domains(pictures, ("day", "night", ""))
    with pytest.raises(DataError, match=r"\d+ training images name no domain; name it, or leave them out"):
        quick(some, tiny, method="spg", settings={})

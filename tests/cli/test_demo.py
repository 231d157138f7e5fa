from __future__ import annotations

import json

import pytest

from acclimate.cli import demo
from tests.helpers.command import acclimate


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Few pictures and few epochs: what is shown, not how good it is."""
    monkeypatch.setattr(demo, "PER_CLASS", 3)
    few = {name: {"epochs": 1} if settings else {} for name, settings in demo.METHODS.items()}
    monkeypatch.setattr(demo, "METHODS", few)


@pytest.mark.slow
def test_the_whole_job(tmp_path):
    done = acclimate("demo", "--out", tmp_path / "demo", "--domain", "sar", "--quiet")
    assert done.code == 0, done.err
    shown = " ".join(done.out.split())
    rows = {"zero-shot", "linear-probe", "domain-linear-probe", "coop", "gdpl", "auto"}
    verbs = {"acclimate data check", "acclimate predict", "acclimate pretrain mae", "--domain-encoder self"}
    for words in rows | verbs:
        assert words in shown
    records = [json.loads(path.read_text()) for path in (tmp_path / "demo").glob("*/record.json")]
    assert {record["method"] for record in records} == {"coop", "gdpl", "auto"}
    assert len({record["data"]["images"]["test"] for record in records}) == 1
    again = acclimate("demo", "--out", tmp_path / "demo", "--domain", "sar", "--quiet")
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("--domain", "sarr"), "sar"), (("--seed", "x"), "--seed"), (("--out", "file"), "name another place")],
)
def test_what_the_demo_cannot_do(tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    done = acclimate("demo", "--quiet", *words)
    assert done.code == 2
    assert expected in done.error

"""`acclimate info` and `acclimate cache`."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import acclimate as package
from acclimate.about import brief_path, describe
from acclimate.data.cache import FeatureCache
from tests.helpers.command import acclimate


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache with a shard of features, a converted checkpoint, and files of somebody else beside and between them."""
    root = tmp_path / "cache"
    monkeypatch.setenv("ACCLIMATE_CACHE", str(root))
    cache = FeatureCache(root / "features", "weights", "transform", 4)
    cache.put(["a" * 64], np.zeros((1, 4), np.float32))
    converted = root / "backbones" / ("b" * 32)
    converted.mkdir(parents=True)
    (converted / "config.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    for place in (root, root / "features", cache.path, root / "backbones", tmp_path / "mine"):
        (place / "notes.txt").write_text("mine")
    (root / "features" / "photos").mkdir()
    (root / "features" / "photos" / "00000000000000000001-0123456789ab.keys.npy").write_text("mine")
    (root / "features" / ("c" * 32)).symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "cache.json").write_text("mine")
    return root


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_the_caches_hold(root):
    told = acclimate("cache", "--json").json
    assert told["place"] == str(root)
    assert {name: part["entries"] for name, part in told["caches"].items()} == {"features": 1, "backbones": 1}
    shard = [path for path in (root / "features").glob("*/*.npy") if path.parent.name != "photos"]
    assert told["caches"]["features"]["bytes"] >= sum(path.stat().st_size for path in shard) > 0
    assert told["freed"] == {}
    assert "`acclimate cache --clean all` removes it" in acclimate("cache").out


def test_only_what_is_ours_is_removed(root, tmp_path):
    before = files(tmp_path)
    done = acclimate("cache", "--clean", "features")
    assert done.code == 0, done.err
    assert "Removed 0.0 MB of features; they are computed again when needed." in done.out
    removed = before - files(tmp_path)
    assert removed
    assert all(name.startswith("cache/features/") and name.endswith((".npy", "cache.json")) for name in removed)
    assert (root / "backbones" / ("b" * 32) / "config.json").exists()
    acclimate("cache", "--clean", "all")
    assert not (root / "backbones" / ("b" * 32)).exists()
    kept = {name for name in before if name.endswith("notes.txt") or "photos" in name or name.startswith("mine")}
    assert kept <= files(tmp_path)
    assert acclimate("cache", "--json").json["caches"]["backbones"] == {"entries": 0, "bytes": 0}


def test_an_emptied_cache_is_filled_again(root):
    cache = FeatureCache(root / "features", "weights", "transform", 4)
    acclimate("cache", "--clean", "all")
    cache.put(["a" * 64], np.ones((1, 4), np.float32))
    again = FeatureCache(root / "features", "weights", "transform", 4)
    found = again.get_or_compute(["a" * 64], lambda rows: pytest.fail("it is there"))
    np.testing.assert_array_equal(found, np.ones((1, 4), np.float32))


def test_bad_words(root):
    done = acclimate("cache", "--clean", "everything")
    assert done.code == 2
    assert "choose all, features or backbones" in done.error
    assert files(root)


def test_info(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "somewhere" / "secret" / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    done = acclimate("info")
    assert done.code == 0, done.err
    told = acclimate("info", "--json").json
    assert told["acclimate"] == package.__version__
    assert told["packages"]["torch"] == version("torch")
    assert told["packages"]["numpy"] in done.out
    assert told["environment"]["HF_TOKEN"] == "set"
    assert told["cache"]["place"] == ".../cache"
    assert told["processors"]["machine"] == os.cpu_count()
    private = ["hf_very_secret", str(tmp_path), "secret", str(Path.home()), os.uname().nodename]
    text = done.out + str(told)
    assert not [one for one in private if one in text]


def test_extras_that_are_missing_are_named(monkeypatch):
    lines = [
        "torch>=2.6",
        'onnx>=1; extra == "onnx"',
        "nobody-has-this[all]>=2,<3 ; extra == 'onnx'",
        'x; extra == "dev"',
    ]
    monkeypatch.setattr("acclimate.about.requires", lambda name: lines)
    told = describe()
    assert told["extras"] == {"onnx": ["nobody-has-this"]}
    assert list(told["packages"]) == ["torch"]


def test_info_with_torch():
    import torch

    told = describe(with_torch=True)["torch"]
    assert told["threads"] == torch.get_num_threads()
    assert told["devices"]


def test_paths_that_anybody_may_read():
    assert brief_path(Path.home() / ".cache" / "acclimate") == "~/.cache/acclimate"
    assert brief_path(Path("/srv/group-of-somebody/cache")) == ".../cache"

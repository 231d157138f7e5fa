from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.data import cache as cache_module
from acclimate.data.cache import FeatureCache, default_cache_dir, row_key

DIM = 8


def key(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def feature(i: int) -> np.ndarray:
    return np.arange(DIM, dtype=np.float32) + i


def features(numbers: list[int] | range) -> np.ndarray:
    return np.stack([feature(i) for i in numbers])


def open_cache(root: Path, **options: object) -> FeatureCache:
    return FeatureCache(root, "weights", "transform", DIM, **options)  # type: ignore[arg-type]


def test_rows_come_back_in_any_process_and_order(tmp_path: Path) -> None:
    writer = open_cache(tmp_path)
    reader = open_cache(tmp_path)  # opened before anything is there: notices new shards
    writer.put([key(i) for i in range(5)], features(range(5)))
    writer.put([key(i) for i in range(5, 9)], features(range(5, 9)))
    rows, found = reader.get([key(i) for i in (8, 100, 0, 8)])
    assert found.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(rows[[0, 2, 3]], features([8, 0, 8]))
    assert not rows[1].any()
    assert len(reader) == 9
    assert reader.get([])[0].shape == (0, DIM)


def test_fingerprints_keep_caches_apart(tmp_path: Path) -> None:
    open_cache(tmp_path).put([key(1)], features([1]))
    for other in (
        FeatureCache(tmp_path, "others", "transform", DIM),
        FeatureCache(tmp_path, "weights", "others", DIM),
        FeatureCache(tmp_path, "weights", "transform", DIM + 1),
        FeatureCache(tmp_path, "weights", "transform", DIM, np.float16),
    ):
        assert not other.get([key(1)])[1].any()
    identity = json.loads((open_cache(tmp_path).path / "cache.json").read_text())
    assert identity == {"weights": "weights", "transform": "transform", "dim": DIM, "dtype": "float32"}


def test_views_of_a_picture_have_keys_of_their_own() -> None:
    assert row_key(key(1)) == key(1)
    assert len({row_key(key(1), view) for view in ("", "a", "b")}) == 3
    assert len(row_key(key(1), "a")) == 64


def test_get_or_compute(tmp_path: Path) -> None:
    calls: list[list[int]] = []
    numbers = [3, 1, 3, 2, 1, 5, 7]

    def compute(positions: list[int]) -> np.ndarray:
        calls.append(positions)
        return features([numbers[i] for i in positions])

    cache = open_cache(tmp_path)
    cache.put([key(2)], features([2]))
    rows = cache.get_or_compute([key(i) for i in numbers], compute, batch_size=2)
    np.testing.assert_array_equal(rows, features(numbers))
    assert calls == [[0, 1], [5, 6]]
    np.testing.assert_array_equal(open_cache(tmp_path).get_or_compute([key(i) for i in numbers], compute), rows)
    assert len(calls) == 2


def test_half_precision_gives_the_same_rows_computed_and_read(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "w", "t", DIM, "float16")
    exact = np.full((1, DIM), 1 / 3, np.float32)
    first = cache.get_or_compute([key(0)], lambda _: exact)
    second = cache.get_or_compute([key(0)], lambda _: pytest.fail("is cached"))
    assert first.dtype == second.dtype == np.float16
    np.testing.assert_array_equal(first, second)


def test_rows_that_are_not_finite_are_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(tmp_path, "w", "t", DIM, np.float16)
    rows = features([1, 2, 3])
    rows[1, 0], rows[2, 0] = np.nan, 1e9
    cache.put([key(i) for i in (1, 2, 3)], rows)
    assert cache.get([key(i) for i in (1, 2, 3)])[1].tolist() == [True, False, False]
    assert "2 feature rows not cached (NaN or infinite)" in caplog.text


def test_errors_keep_what_was_finished(tmp_path: Path) -> None:
    def compute(positions: list[int]) -> np.ndarray:
        if positions[0] >= 4:
            raise RuntimeError("the device is gone")
        return features(positions)

    keys = [key(i) for i in range(8)]
    with pytest.raises(RuntimeError, match="gone"):
        open_cache(tmp_path).get_or_compute(keys, compute, batch_size=2)
    assert open_cache(tmp_path).get(keys)[1].tolist() == [True] * 4 + [False] * 4


def test_wrong_shapes_and_keys(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    with pytest.raises(ValueError, match="2 keys"):
        cache.put([key(0), key(1)], features([0]))
    with pytest.raises(ValueError, match="instead of"):
        cache.get_or_compute([key(0)], lambda _: features([0, 1]))
    with pytest.raises(ValueError, match="64 hex digits"):
        cache.get(["abc"])
    with pytest.raises(ValueError, match="float32 or float16"):
        FeatureCache(tmp_path, "w", "t", 3, np.int64)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=40), st.integers(0, 40))
def test_keys_with_equal_beginnings(numbers: list[tuple[int, int]], missing: int) -> None:
    import tempfile

    def close(pair: tuple[int, int]) -> str:
        return f"{pair[0]:016x}{pair[1]:048x}"  # many keys share their first eight bytes

    with tempfile.TemporaryDirectory() as root:
        cache = open_cache(Path(root))
        for start in range(0, len(numbers), 5):
            part = numbers[start : start + 5]
            cache.put([close(p) for p in part], features([100 * a + b for a, b in part]))
        rows, found = cache.get([close(p) for p in numbers] + [close((1, missing))])
        assert found[:-1].all()
        assert found[-1] == ((1, missing) in numbers)
        if numbers:
            np.testing.assert_array_equal(rows[:-1], features([100 * a + b for a, b in numbers]))


def test_many_small_shards_are_merged(tmp_path: Path) -> None:
    cache, reader = open_cache(tmp_path), open_cache(tmp_path)
    for i in range(70):
        cache.put([key(i), key(i // 2)], features([i, i // 2]))
        if i == 20:
            assert reader.get([key(3)])[1].all()  # has shards mapped that are merged away later
    shards = list(cache.path.glob("*.keys.npy"))
    assert len(shards) < 40
    assert len(list(cache.path.glob("*.features.npy"))) == len(shards)
    for one in (cache, reader, open_cache(tmp_path)):
        rows, found = one.get([key(i) for i in range(70)])
        assert found.all()
        np.testing.assert_array_equal(rows, features(range(70)))


def test_leftovers_of_dead_writers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_MANY_SMALL", 3)
    cache = open_cache(tmp_path)
    old, young = cache.path / "a.features.npy.x.tmp", cache.path / "b.features.npy.y.tmp"
    lone = cache.path / "c.features.npy"
    for path in (old, young, lone):
        path.write_bytes(b"half")
    for path in (old, lone):
        os.utime(path, (1, 1))
    for i in range(4):
        cache.put([key(i)], features([i]))
    assert not old.exists()
    assert not lone.exists()
    assert young.exists()


@pytest.mark.parametrize("damage", ["truncate", "empty", "pickle", "missing", "keys", "dtype"])
def test_damaged_shards_are_named_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    open_cache(tmp_path).put([key(0)], features([0]))
    open_cache(tmp_path).put([key(1), key(2)], features([1, 2]))
    folder = open_cache(tmp_path).path
    shard = sorted(folder.glob("*.features.npy"))[-1]
    if damage == "truncate":
        os.truncate(shard, shard.stat().st_size - 5)
    elif damage == "empty":
        shard.write_bytes(b"")
    elif damage == "pickle":
        np.save(shard, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif damage == "missing":
        shard.unlink()
    elif damage == "keys":
        np.save(shard.with_name(shard.name.replace("features", "keys")), np.zeros((1, 32), np.uint8))
    else:
        np.save(shard, features([1, 2]).astype(np.float64))
    with caplog.at_level(logging.WARNING, logger="acclimate.data"):
        cache = open_cache(tmp_path)
        rows = cache.get_or_compute([key(i) for i in range(3)], features)
    assert caplog.text.count("damaged cache shard") == 1
    np.testing.assert_array_equal(rows, features(range(3)))
    caplog.clear()
    assert open_cache(tmp_path).get([key(i) for i in range(3)])[1].all()
    assert not caplog.text


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = open_cache(tmp_path / "file")
    rows = cache.get_or_compute([key(i) for i in range(4)], features, batch_size=1)
    np.testing.assert_array_equal(rows, features(range(4)))
    assert caplog.text.count("going on without") == 1
    assert len(cache) == 0


FULL_DISK = """
import resource, sys, numpy as np, logging
from acclimate.data.cache import FeatureCache
logging.basicConfig()
cache = FeatureCache(sys.argv[1], "w", "t", 64, flush_rows=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
rows = cache.get_or_compute([f"{i:064x}" for i in range(40)], lambda p: np.ones((len(p), 64)), batch_size=10)
assert rows.all()
"""


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    done = run(FULL_DISK, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("going on without") == 1
    assert not list(tmp_path.glob("*/*.tmp"))


WRITER = """
import sys, hashlib, numpy as np
from acclimate.data import cache as module
module._MANY_SMALL = 6
numbers = list(range(int(sys.argv[2]), int(sys.argv[3])))
keys = [hashlib.sha256(str(i).encode()).hexdigest() for i in numbers]
cache = module.FeatureCache(sys.argv[1], "weights", "transform", 8, flush_rows=3)
rows = cache.get_or_compute(keys, lambda p: np.stack([np.arange(8) + numbers[i] for i in p]), batch_size=3)
assert (rows[:, 0] == numbers).all()
"""


def test_two_processes_write_merge_and_read_at_once(tmp_path: Path) -> None:
    spans = [(0, 200), (100, 300), (50, 250)]
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(a), str(b)], stderr=subprocess.PIPE)
        for a, b in spans
    ]
    reader = open_cache(tmp_path)
    while any(process.poll() is None for process in processes):
        rows, found = reader.get([key(i) for i in range(300)])
        np.testing.assert_array_equal(
            rows[found], features([int(i) for i in np.flatnonzero(found)] or [0])[: found.sum()]
        )
        time.sleep(0.01)
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        assert not errors
    rows, found = open_cache(tmp_path).get([key(i) for i in range(300)])
    assert found.all()
    np.testing.assert_array_equal(rows, features(range(300)))


KILLED = """
import os, sys, hashlib, numpy as np
from acclimate.data.cache import FeatureCache
cache = FeatureCache(sys.argv[1], "weights", "transform", 8, flush_rows=4)
keys = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(100000)]
def compute(positions):
    print(positions[-1], flush=True)
    return np.stack([np.arange(8) + i for i in positions])
cache.get_or_compute(keys, compute, batch_size=4)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_loses_little(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = 0
    while last < 80:
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    last = int((process.stdout.read().split() or [last])[-1])
    process.wait()
    cache = open_cache(tmp_path)
    rows, found = cache.get([key(i) for i in range(last + 1)])
    assert found[: last - 8].all()  # at most the batch at work and the one being written
    np.testing.assert_array_equal(rows[found], features(range(last + 1))[found])
    again = cache.get_or_compute([key(i) for i in range(last + 9)], features)
    np.testing.assert_array_equal(again, features(range(last + 9)))


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert default_cache_dir() == tmp_path / "a"
    monkeypatch.delenv("ACCLIMATE_CACHE")
    assert default_cache_dir() == tmp_path / "b" / "acclimate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path.home() / ".cache" / "acclimate"

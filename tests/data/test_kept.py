"""A split that is kept: every known image stays, and only what is new is placed."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import pytest

from acclimate.data import ImageData, freeze_splits, load_captions, load_data, make_splits, sample_shots
from acclimate.data.kept import keep_split
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import ConfigError, DataError, RunError
from tests.helpers.rows import data_of, simple


def write(folder: Path, names: list[str]) -> Path:
    """Write files of which nothing but the bytes is looked at."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def freeze(data: ImageData, path: Path, shots: int | str = 2, **options: object) -> Path:
    """Write what a few-shot run writes."""
    parts = {"train": sample_shots(data.train, shots, 1), "val": sample_shots(data.val, 1, 1), "test": data.test}
    options = {"digests": True, "whole": data, **options}
    freeze_splits(parts, path / "splits.json", seed=1, shots=shots, **options)
    return path


def splits(data: ImageData) -> dict[str, str]:
    return dict(zip(data.keys, data.splits, strict=True))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write(tmp_path / "photos", [f"{name}/{n:02d}.png" for name in ("cat", "dog") for n in range(10)])


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Path:
    return freeze(load_data(photos, split_rule="greedy"), tmp_path / "run")


def test_all_that_is_known_stays_and_all_that_is_new_is_placed(
    photos: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = splits(load_data(photos, split_rule="greedy"))
    write(photos, [f"cat/new-{n}.png" for n in range(10)])
    (photos / "cat/00.png").rename(photos / "cat/first.png")
    (photos / "dog/03.png").unlink()
    (photos / "dog/04.png").rename(photos / "cat/04-was-a-dog.png")
    (photos / "dog/05.png").write_bytes(b"cropped")
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_data(photos, split_from=run)
    after = splits(data)
    assert {key: after[key] for key in before.keys() & after.keys()} == {
        key: split for key, split in before.items() if key in after
    }
    assert after["cat/first.png"] == before["cat/00.png"]
    assert after["cat/04-was-a-dog.png"] == before["dog/04.png"]
    cats = Counter(split for key, split in after.items() if key.startswith("cat"))
    for split, share in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
        assert abs(cats[split] - 21 * share) <= 1
    assert "is kept" in caplog.text
    assert "for 19 images (2 under another name, 1 labelled otherwise, 1 with other bytes); 10 are new (" in caplog.text
    assert "), 1 is gone" in caplog.text
    kept = json.loads((run / "splits.json").read_text())["hash"]
    assert data.split_made == {"rule": "stable", "seed": 0, "val_fraction": 0.2, "test_fraction": 0.3, "kept": kept}
    assert data.split_origin == "made"


def test_nothing_new_changes_nothing_and_a_chain_of_runs_keeps_it(photos: Path, run: Path, tmp_path: Path) -> None:
    first = splits(load_data(photos, split_rule="greedy"))
    assert splits(load_data(photos, split_from=run / "splits.json")) == first
    known, last = first, run
    for step in range(4):
        write(photos, [f"dog/step-{step}-{n}.png" for n in range(3)])
        data = load_data(photos, split_from=last)
        after = splits(data)
        assert {key: after[key] for key in known} == known
        known, last = after, freeze(data, tmp_path / f"run-{step}")
    dogs = Counter(split for key, split in known.items() if key.startswith("dog"))
    for split, share in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
        assert abs(dogs[split] - 22 * share) <= 1.5


def test_files_that_were_numbered_anew_are_told_apart_by_their_bytes(photos: Path, run: Path) -> None:
    before = splits(load_data(photos, split_rule="greedy"))
    contents = {key: (photos / key).read_bytes() for key in before}
    for number in range(10):  # each cat gets the name of the one before it, the last name a new image
        following = f"cat/{number + 1:02d}.png"
        (photos / f"cat/{number:02d}.png").write_bytes(contents.get(following, b"new"))
    after = splits(load_data(photos, split_from=run))
    for number in range(9):
        assert after[f"cat/{number:02d}.png"] == before[f"cat/{number + 1:02d}.png"]


def test_a_copy_goes_where_its_original_is(photos: Path, run: Path) -> None:
    before = splits(load_data(photos, split_rule="greedy"))
    for key in before:
        (photos / key.replace("/", "/copy-")).write_bytes((photos / key).read_bytes())
    after = splits(load_data(photos, split_from=run))
    assert {key: after[key.replace("/", "/copy-")] for key in before} == before


def test_a_new_image_goes_with_its_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = make_splits(simple(12, classes=1, group_size=3))
    path = freeze(before, tmp_path / "run", digests=False)
    rows = list(zip(before.keys, before.label_names, before.domains, before.groups, strict=True))
    more = [(f"more-{group}", "class0", "", group) for group in sorted(set(before.groups))]
    after = keep_split(data_of(rows + more), path)
    sides = dict(zip(before.groups, before.splits, strict=True))
    assert [splits(after)[f"more-{group}"] for group in sorted(sides)] == [sides[group] for group in sorted(sides)]
    assert "several sides" not in caplog.text
    joined = [*rows[1:], (*rows[0][:3], rows[-1][3])]  # an image turns out to be of another group
    assert splits(before)[rows[0][0]] != splits(before)[rows[-1][0]]
    kept = keep_split(data_of(joined), path)
    assert splits(kept)[rows[0][0]] == splits(before)[rows[0][0]]
    assert "1 group is on several sides of the kept split" in caplog.text


def test_a_class_that_is_new_is_served_like_any_other(photos: Path, run: Path) -> None:
    write(photos, [f"fox/{n}.png" for n in range(3)])
    after = splits(load_data(photos, split_from=run))
    assert {after[f"fox/{n}.png"] for n in range(3)} == {"train", "val", "test"}


def test_a_file_without_what_was_not_drawn_never_moves_it_to_the_test(
    photos: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files of earlier releases list the drawn shots alone: what else was in training cannot be known."""
    path = run / "splits.json"
    document = json.loads(path.read_text())
    earlier = {key: value for key, value in document.items() if key not in ("made", "undrawn", "undrawn_hash")}
    path.write_text(json.dumps(earlier))
    before = splits(load_data(photos, split_rule="greedy"))
    drawn = {entry["key"] for rows in earlier["splits"].values() for entry in rows}
    write(photos, ["cat/new.png"])
    after = splits(load_data(photos, split_from=run))
    assert {key: after[key] for key in drawn} == {key: before[key] for key in drawn}
    assert {after[key] for key in after.keys() - drawn} == {"train"}
    assert "is of an earlier release" in caplog.text
    path.write_text(json.dumps({**earlier, "shots": "all"}))  # then everything was drawn
    caplog.clear()
    load_data(photos, split_from=run)
    assert "is of an earlier release" not in caplog.text


def test_captions_keep_their_split_too(tmp_path: Path) -> None:
    names = [f"{n:02d}.png" for n in range(20)]
    folder = write(tmp_path / "scenes", names)
    (folder / "captions.csv").write_text("\n".join(["image,caption", *(f"{name},a word" for name in names)]))
    before = load_captions(folder, split_rule="greedy")
    assert before.splits != load_captions(folder).splits
    run = freeze(before, tmp_path / "run", "all")
    (folder / "captions.csv").write_text("\n".join(["image,caption", *(f"{name},another" for name in names[:-2])]))
    after = load_captions(folder, split_from=run)
    assert splits(after) == {key: split for key, split in splits(before).items() if key in after.keys}
    assert load_captions(after, split_from=run).splits == after.splits


def test_what_cannot_be_kept(photos: Path, run: Path, tmp_path: Path) -> None:
    data = load_data(photos)
    with pytest.raises(RunError, match=r"^cannot read .*splits\.json: no such file or directory; name a splits\.json"):
        load_data(photos, split_from=tmp_path)
    with pytest.raises(ConfigError, match=r"by the stable rule; leave `split_rule='greedy'` out"):
        load_data(photos, split_from=run, split_rule="greedy")
    with pytest.raises(ConfigError, match="photos gives a split, which is kept; leave `split_from` out"):
        load_data(data.with_splits(data.splits, "given"), split_from=run)
    with pytest.raises(DataError, match=r"other: none of its images is in .*splits\.json; name a run on these data"):
        load_data(write(tmp_path / "other", ["a/1.png", "b/2.png"]), split_from=run)
    with pytest.raises(ConfigError, match="has no classes, so it gets no split; leave `split_from` out"):
        load_unlabelled(photos / "cat", split_from=run)
    freeze(data, tmp_path / "part", whole=None)
    with pytest.raises(ConfigError, match=r"does not hold the whole split of data \(images that were not drawn"):
        load_data(photos, split_from=tmp_path / "part")
    freeze_splits({"train": data.train, "novel": data.test}, tmp_path / "bench.json", seed=1, shots=1, whole=data)
    with pytest.raises(ConfigError, match=r"\(it lists novel\); name a run of `acclimate adapt`"):
        load_data(photos, split_from=tmp_path / "bench.json")
    document = json.loads((run / "splits.json").read_text())
    document["undrawn"]["train"].pop()
    (run / "splits.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match="the file was edited"):
        load_data(photos, split_from=run)

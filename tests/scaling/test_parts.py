"""Images are cut into parts that stay the same while their images do; a folder of predictions knows whose it is."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acclimate.errors import DataError, RunError
from acclimate.scaling.manifest import describe, drop_others, identity, is_done, open_output, write_manifest
from acclimate.scaling.parts import find_parts
from tests.helpers.pictures import make_pictures
from tests.helpers.shards import pictures, write_shard


@pytest.fixture
def folder(tmp_path):
    return make_pictures(tmp_path / "new", per_class=3)


def test_images_are_counted_off_and_a_shard_is_a_part(folder, tmp_path, monkeypatch):
    shards = [write_shard(tmp_path / f"a-{number}.tar", pictures(1, number)) for number in range(2)]
    table = tmp_path / "more.parquet"
    pq.write_table(pa.table({"Path": ["new/cat/000.png", "gone.png"]}), table)
    monkeypatch.chdir(tmp_path)
    parts = find_parts(["new", "a-{0..1}.tar", table], rows=4)
    assert [part.count for part in parts] == [4, 4, 1, None, None, 2]
    assert [part.number for part in parts] == [*range(6)]
    assert [image for part in parts[:3] for image in part.images] == [*map(str, sorted(folder.rglob("*.png")))]
    assert [part.images for part in parts[3:5]] == [(str(shard),) for shard in shards]
    assert parts[5].images == (str(folder / "cat/000.png"), str(tmp_path / "gone.png"))


def test_the_name_of_a_part_is_that_of_its_images_as_they_are(folder):
    before = find_parts([folder], rows=4)
    assert [part.file for part in find_parts([folder], rows=4)] == [part.file for part in before]
    os.utime(folder / "dog/001.png", ns=(1, 1))
    after = find_parts([folder], rows=4)
    assert [one.file == two.file for one, two in zip(before, after, strict=True)] == [True, False, True]


def test_a_list_without_paths_is_one_line(tmp_path):
    (tmp_path / "list.csv").write_text("name,label\na,b\n")
    with pytest.raises(DataError, match=r"^list.csv: no column of paths among name, label; name it path or"):
        find_parts([tmp_path / "list.csv"])
    (tmp_path / "list.csv").write_text("path,label\na.png,b\n,c\n")
    with pytest.raises(DataError, match=r"^list.csv row 3: no path in column 'path'"):
        find_parts([tmp_path / "list.csv"])


def test_a_folder_of_other_predictions_is_refused(run, folder, tmp_path):
    out, known = tmp_path / "out", identity(run, {"coverage": 0.9})
    open_output(out, known)
    open_output(out, known)  # the same command goes on
    with pytest.raises(RunError, match="predictions of another run, or with other options; name a new or empty"):
        open_output(out, identity(run, {"coverage": 0.8}))
    with pytest.raises(RunError, match=r"holds other files \(such as cat\)"):
        open_output(folder, known)
    with pytest.raises(RunError, match="there is no such run"):
        identity(folder, {})


def test_a_manifest_tells_rows_and_what_could_not_be_read(run, folder, tmp_path):
    out, known = tmp_path / "out", identity(run, {})
    open_output(out, known)
    first, second, _ = parts = find_parts([folder], rows=4)
    for part in (first, second):
        pq.write_table(pa.table({"path": [*part.images], "error": ["", None, "no image", ""]}), out / part.file)
    assert [is_done(out, part) for part in parts] == [True, True, False]
    rows = [describe(out, part) for part in (first, second)]
    assert rows[0] == {"file": first.file, "rows": 4, "unread": 1}
    write_manifest(out, known, rows)
    open_output(out, known)
    assert drop_others(out, [second]) == 1
    assert [is_done(out, part) for part in parts] == [False, True, False]
    (out / second.file).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"part-000001-.* is damaged .*; delete it and start again"):
        describe(out, second)

"""Features of images from frozen encoders: as an iterator, and as a Parquet file through the command."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from acclimate.errors import AcclimateError, ConfigError, DataError
from acclimate.runs import embed_images
from acclimate.runs.embedding import Embedder, write_embeddings
from acclimate.training.encoding import image_features, tiled_features
from tests.helpers.command import acclimate
from tests.helpers.pictures import picture


@pytest.mark.parametrize(
    ("encoder", "kind", "features", "grid"),
    [
        ("backbone", "image_features", "projected", 0),
        ("backbone", "pooled_features", "before", 2),
        ("domain_encoder", "domain_features", "projected", 0),
        ("domain_encoder", "domain_features", "projected", 3),
    ],
)
def test_features_are_those_that_methods_learn_from(tiny, domain_encoder, pictures, encoder, kind, features, grid):
    frozen = {"backbone": tiny, "domain_encoder": domain_encoder}[encoder]
    test = pictures.test
    rows = list(embed_images(test, **{encoder: frozen}, features=features, grid=grid, device="cpu"))
    assert [row.path for row in rows] == list(test.paths)
    whole = np.stack([row.features for row in rows])
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, image_features(frozen, test, kind=kind).numpy(), atol=1e-5)
    if grid:
        tiles = np.stack([row.tiles for row in rows])
        np.testing.assert_allclose(tiles, tiled_features(frozen, test, grid, kind=kind)[:, 1:].numpy(), atol=1e-5)
    else:
        assert {row.tiles for row in rows} == {None}


def test_an_unreadable_image_stops_or_is_told_of(tiny):
    images = [picture(0, 0), b"no image"]
    with pytest.raises(DataError, match=r"number 2 \(in memory\)"):
        list(embed_images(images, tiny, device="cpu"))
    good, bad = embed_images(images, tiny, device="cpu", on_corrupt="skip")
    assert good.features is not None
    assert (bad.features, bad.path) == (None, "")
    assert "number 2 (in memory)" in bad.error


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"grid": 5}, "`grid=5`: choose 0, for the whole image alone, or 2, 3, 4"),
        ({"features": "all"}, "`features='all'`"),
        ({"precision": "int8"}, "`precision='int8'`: choose auto"),
        ({"domain_encoder": "self"}, "'self' means the backbone's own"),
        ({"domain_encoder": "x", "backbone": "mini-clip"}, "`backbone` is for the image tower"),
        ({"domain_encoder": "x", "features": "before"}, "`features` is for the image tower"),
        ({"backbone": "mini-vlm"}, "embedding needs a dual encoder"),
    ],
)
def test_what_cannot_be_embedded(words, line):
    with pytest.raises(AcclimateError) as caught:
        embed_images([], **words, device="cpu")
    assert line in str(caught.value)


def test_a_backbone_without_a_projection(tiny_backbones):
    siglip = tiny_backbones["siglip"]
    if "pooled_features" in siglip.widths:
        assert next(embed_images(picture(0, 0), siglip, features="before", device="cpu")).features is not None
    else:
        with pytest.raises(ConfigError, match="no such features"):
            embed_images([], siglip, features="before", device="cpu")


def test_the_file_has_the_features_bit_for_bit_and_says_what_they_are(tiny, tiny_folders, picture_folder, tmp_path):
    out, test = tmp_path / "new" / "x.parquet", picture_folder / "test"
    words = ("--backbone", tiny_folders["clip"], "--features", "before", "--grid", 2, "--device", "cpu")
    done = acclimate("embed", test, "--out", out, *words, "--json")
    assert done.code == 0, done.err
    table = pq.read_table(out)
    rows = list(embed_images(test, tiny, features="before", grid=2, device="cpu"))
    assert table["path"].to_pylist() == [row.path for row in rows]
    for name in ("features", "tiles"):
        stored = np.array(table[name].to_pylist(), dtype=np.float32)
        np.testing.assert_array_equal(stored, np.stack([getattr(row, name) for row in rows]))
    told = json.loads(table.schema.metadata[b"acclimate"])
    assert (told["kind"], told["width"], told["grid"]) == ("pooled_features", tiny.vision_width, 2)
    assert (told["fingerprint"], told["transform"]) == (tiny.fingerprint, tiny.transform.to_dict())
    assert done.json == {"file": str(out), "rows": len(rows), "unreadable": 0, **told}
    assert [file.name for file in out.parent.iterdir()] == [out.name]


def test_rows_of_several_groups(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("acclimate.runs.embedding.ROWS", 5)
    count, failed = write_embeddings(
        Embedder.of(tiny, device="cpu"), [picture(0, n) for n in range(12)], tmp_path / "x.parquet", 4
    )
    assert (count, failed) == (12, [])
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [5, 5, 2]


def test_what_cannot_be_read_has_a_row_and_ends_in_a_line(tiny_folders, tmp_path):
    (tmp_path / "images").mkdir()
    picture(0, 0).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_text("no image")
    words = ("--out", tmp_path / "x.parquet", "--backbone", tiny_folders["clip"], "--device", "cpu")
    done = acclimate("embed", tmp_path / "images", *words)
    assert done.code == 2
    assert "1 of 2 images could not be read, the others are embedded" in done.error
    first, second = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert first["features"] is not None
    assert (second["features"], "b.png" in second["error"]) == (None, True)
    for name in ("x.csv", "images/a.png/x.parquet"):
        assert acclimate("embed", tmp_path / "images", "--out", tmp_path / name, *words[2:]).error
    assert not list(tmp_path.glob(".*"))

"""Whatever form images are given in, they are the same images."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError
from tests.helpers.pictures import make_pictures

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("given") / "data", per_class=3)


@pytest.fixture(scope="module")
def paths(place):
    return [str(path) for path in sorted(place.glob("*/*.png"))]


@pytest.fixture(scope="module")
def expected(run, paths):
    return probabilities(run.model.predict(paths))


def probabilities(rows):
    return np.stack([row.probabilities for row in rows])


def arrays(paths):
    return [np.asarray(Image.open(path)) for path in paths]


def image_set(paths, **columns):
    return datasets.Dataset.from_dict({"image": paths, **columns}).cast_column("image", datasets.Image())


def encoded_set(paths, **columns):
    """The same with the bytes of the files."""
    return image_set([{"bytes": Path(path).read_bytes(), "path": None} for path in paths], **columns)


KINDS = {
    "paths": lambda paths: paths,
    "array of paths": np.array,
    "generator": lambda paths: (path for path in paths),
    "Pillow": lambda paths: [Image.open(path) for path in paths],
    "arrays": arrays,
    "floats": lambda paths: [array.astype(np.float32) / 255 for array in arrays(paths)],
    "one array of all": lambda paths: np.stack(arrays(paths)),
    "tensors": lambda paths: [torch.from_numpy(array.copy()) for array in arrays(paths)],
    "bytes": lambda paths: [Path(path).read_bytes() for path in paths],
    "bytearrays": lambda paths: [bytearray(Path(path).read_bytes()) for path in paths],
    "files": lambda paths: list(map(opened, paths)),
    "streams that were read": lambda paths: [read_stream(path) for path in paths],
    "data": lambda paths: load_data(paths[0].rsplit("/", 2)[0]),
    "data set": image_set,
    "encoded data set": encoded_set,
    "streamed data set": lambda paths: image_set(paths).to_iterable_dataset(),
    "column of a data set": lambda paths: image_set(paths)["image"],
    "data set of paths": lambda paths: datasets.Dataset.from_dict({"file_name": paths}),
    "data in memory": lambda paths: load_data(encoded_set(paths, label=[path.rsplit("/", 2)[1] for path in paths])),
    "table": lambda paths: pa.table({"label": ["?"] * len(paths), "path": paths}),
    "mixed": lambda paths: [paths[0], Image.open(paths[1]), *arrays(paths[2:])],
}
ON_DISK = (
    "paths",
    "array of paths",
    "generator",
    "data",
    "data set",
    "streamed data set",
    "data set of paths",
    "table",
)


def opened(path):
    return open(path, "rb")


def read_stream(path):
    stream = io.BytesIO(Path(path).read_bytes())
    stream.read()
    return stream


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_the_same_images_in_another_form(kind, run, paths, expected):
    rows = run.model.predict(KINDS[kind](paths))
    np.testing.assert_array_equal(probabilities(rows), expected)
    assert [row.path for row in rows] == (
        paths if kind in ON_DISK else [paths[0]] + [""] * 8 if kind == "mixed" else [""] * 9
    )


def test_columns_of_pandas(run, paths, expected):
    frame = pytest.importorskip("pandas").DataFrame({"path": paths})
    for images in (frame, frame["path"]):
        np.testing.assert_array_equal(probabilities(run.model.predict(images)), expected)


@pytest.mark.parametrize("kind", ["Pillow", "arrays", "floats", "tensors", "bytes", "files"])
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_one_image_alone(kind, run, paths, expected):
    (image,) = KINDS[kind](paths[:1])
    (row,) = run.model.predict(image)
    np.testing.assert_allclose(row.probabilities, expected[0], atol=1e-6)


def test_grey_arrays_are_read_as_their_files(run, tmp_path):
    random = np.random.default_rng(0)
    for values in (
        random.integers(0, 255, (40, 36), dtype=np.uint8),
        random.integers(0, 60000, (40, 36), dtype=np.uint16),
        random.integers(0, 255, (40, 36, 4), dtype=np.uint8),
    ):
        Image.fromarray(values).save(tmp_path / "grey.png")
        forms = (
            [values] if values.ndim == 3 else [values, values[..., None], values.astype(values.dtype.newbyteorder(">"))]
        )
        rows = run.model.predict([tmp_path / "grey.png", *forms])
        for row in rows[1:]:
            np.testing.assert_array_equal(row.probabilities, rows[0].probabilities)


RGB = np.zeros((8, 8, 3))
WRONG = {
    "None": (None, "cannot predict on None; give paths, "),
    "a number": (3, "cannot predict on an int; give paths, "),
    "a mapping": ({"a": 1}, "cannot predict on a dict; "),
    "a number in an array": (np.array(3), "cannot predict on a ndarray; "),
    "empty": ("", "the image: '' is no path"),
    "blank": ([" "], "image 1: ' ' is no path"),
    "several kinds, one of them none": (["PATH", 3], "image 2: cannot predict on an int; "),
    "a list in a list": ([["a.png"]], "image 1: cannot predict on a list; "),
    "numbers": (np.zeros(4), "image 1: cannot predict on|image 1: an array of shape"),
    "channels first": (RGB.transpose(2, 0, 1), r"shape \(3, 8, 8\) has its channels first; give array\.transpose"),
    "several grey images": (np.zeros((5, 8, 8)), r"shape \(5, 8, 8\) is no image"),
    "nothing": (RGB[:0], r"shape \(0, 8, 3\) is no image"),
    "floats to 255": (RGB + 200, "floats from 200 to 200, of which the white is not known; give floats from 0 to 1"),
    "standardised": (RGB - 0.5, "floats from -0.5 to -0.5, "),
    "not finite": (RGB + np.nan, "floats from nan to nan, "),
    "whole numbers": (RGB.astype(np.int64), "an array of int64, of which the white"),
    "colour of 16 bits": (RGB.astype(np.uint16), "an array of uint16 in colour, "),
    "a mask": (RGB[..., 0] > 0, "an array of bool, "),
    "a tensor with a gradient": (torch.zeros(8, 8, 3, requires_grad=True), "cannot read a Tensor as an array"),
    "text": (io.StringIO("text"), "the file gives a str, not bytes; open it in mode 'rb'"),
    "bytes that are no image": (b"PATH", r"number 1 \(in memory\).*not an image of a known format"),
    "bytes that are a path": (b"/", "the image: b'/' is a path in bytes; give it as text"),
    "no bytes": (b"", r"number 1 \(in memory\).*0 bytes"),
    "a table without paths": (pa.table({"label": ["a"]}), "Table: no column 'path' among label; "),
    "a table with holes": (pa.table({"path": ["a.png", None]}), "Table row 1: the path is empty"),
    "splits": (datasets.DatasetDict({"train": datasets.Dataset.from_dict({})}), "has several splits; give one of them"),
    "a data set without images": (datasets.Dataset.from_dict({"x": [1]}), "no column of images or paths among x; "),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_image(kind, run, paths):
    given, message = WRONG[kind]
    given = [paths[0] if item == "PATH" else item for item in given] if isinstance(given, list) else given
    with pytest.raises(DataError, match=message) as caught:
        run.model.predict(given)
    assert "\n" not in str(caught.value)


def test_a_closed_file(run, paths):
    with open(paths[0], "rb") as stream:
        pass
    with pytest.raises(DataError, match="cannot read the open file"):
        run.model.predict(stream)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, None, "8", float("nan")])
def test_sizes_that_are_none(run, paths, batch_size):
    for call in (run.model.predict, run.model.stream):  # before anything is read
        with pytest.raises(ConfigError, match=r"^`batch_size` is [^\n]*; give a whole number of at least 1$"):
            call(paths, batch_size)


def test_options_of_a_stream(run, paths):
    assert len(run.model.predict(paths, np.int64(4))) == len(paths)
    with pytest.raises(ConfigError, match="`on_corrupt='ignore'`: choose error, skip"):
        run.model.stream(paths, on_corrupt="ignore")


def test_threads(run, paths, expected):
    """Threads share a model: what one of them keeps is not taken from another."""

    def ask(_):
        return probabilities(run.model.predict(paths))

    run.model.method.train()
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(ask, range(24)):
            np.testing.assert_array_equal(found, expected)

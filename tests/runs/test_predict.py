from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from acclimate.errors import ConfigError, DataError
from acclimate.tasks.classification import probabilities
from acclimate.training.batch import Batch
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from tests.helpers.command import run_code
from tests.helpers.pictures import picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten pictures in two folders, and files that are none."""
    place = tmp_path_factory.mktemp("predict")
    for index in range(10):
        target = place / ("b" if index % 2 else "a") / f"{index}.png"
        target.parent.mkdir(exist_ok=True)
        picture(index % 3, 50 + index).save(target)
    (place / "a" / "notes.txt").write_text("no image")
    (place / "a" / ".hidden.png").write_bytes(b"no image")
    return place


def names(rows):
    return [row.path.rsplit("/", 1)[-1] for row in rows]


def test_probabilities_are_those_of_evaluation(run, pictures):
    test, method = pictures.test, run.model.method
    expected = probabilities(method, evaluation_feed(method.inputs.prediction, test, Given(run.model.backbone)))
    rows = run.model.predict(test.paths, batch_size=4)
    np.testing.assert_allclose(np.stack([row.probabilities for row in rows]), expected, atol=1e-5)
    for row, path in zip(rows, test.paths, strict=True):
        assert row.path == path
        assert row.label == run.model.class_names[row.probabilities.argmax()]
        assert row.probability == row.probabilities.max()
        assert row.error == ""


def test_files_folders_and_patterns(run, folder):
    assert names(run.model.predict(folder / "a" / "0.png")) == ["0.png"]
    assert names(run.model.predict(str(folder / "a" / "0.png"))) == ["0.png"]
    assert names(run.model.predict(folder)) == [f"{index}.png" for index in (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)]
    assert names(run.model.predict(str(folder / "*" / "[0-3].png"))) == ["0.png", "2.png", "1.png", "3.png"]
    assert names(run.model.predict(str(folder / "**" / "9.png"))) == ["9.png"]
    assert names(run.model.predict([folder / "b", str(folder / "a" / "0.png")]))[-2:] == ["9.png", "0.png"]


def test_a_file_name_that_looks_like_a_pattern(run, tmp_path):
    picture(0, 0).save(tmp_path / "tile[1].png")
    assert names(run.model.predict(tmp_path / "tile[1].png")) == ["tile[1].png"]


def test_pictures_in_memory(run, folder):
    path = folder / "a" / "0.png"
    (row,) = run.model.predict(Image.open(path))
    assert row.path == ""
    np.testing.assert_array_equal(row.probabilities, run.model.predict(path)[0].probabilities)


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "L", "P", "CMYK"])
def test_pictures_in_memory_and_on_disk_are_read_alike(run, tmp_path, mode):
    random = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 60000, (40, 40), dtype=np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 255, (40, 40, 4), dtype=np.uint8), "RGBA")
        image = image if mode == "RGBA" else image.convert("RGB").convert(mode)
    path = tmp_path / "image.tif"
    image.save(path)
    one, two = run.model.predict([image, path])
    np.testing.assert_array_equal(one.probabilities, two.probabilities)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_the_size_of_a_batch_changes_nothing(run, folder, batch_size):
    rows = run.model.predict(folder, batch_size=batch_size)
    expected = run.model.predict(folder)
    assert names(rows) == names(expected)
    np.testing.assert_allclose([row.probability for row in rows], [row.probability for row in expected], atol=1e-5)


def test_no_images_no_rows(run):
    assert run.model.predict([]) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [("nothing/*.png", "no file matches this pattern"), ("empty", "no image in this folder"), ("gone.png", "gone.png")],
)
def test_what_is_not_there(run, tmp_path, source, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=words):
        run.model.predict(tmp_path / source)


@pytest.fixture
def bad(tmp_path):
    """Corrupt files among good ones."""
    for index in range(5):
        picture(0, index).save(tmp_path / f"{index}.png")
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "3.png").write_text("no image")
    (tmp_path / "4.png").write_bytes(b"")
    return tmp_path


def test_a_corrupt_image_stops(run, bad):
    with pytest.raises(DataError, match=r"1\.png"):
        run.model.predict(bad)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_corrupt_images_among_good_ones(run, bad, batch_size):
    rows = list(run.model.stream([bad, bad / "gone.png"], batch_size, on_corrupt="skip"))
    assert names(rows) == ["0.png", "1.png", "2.png", "3.png", "4.png", "gone.png"]
    assert [bool(row.error) for row in rows] == [False, True, False, True, True, True]
    for row in rows:
        if row.error:
            assert row.path in row.error
            assert (row.label, row.probability, len(row.probabilities)) == ("", 0.0, 0)
    assert rows[0].label in run.model.class_names


def test_what_is_read_in_part_is_warned_of_once(run, tmp_path, caplog):
    for number in range(4):
        first, *rest = [picture(number, frame) for frame in range(3)]
        first.save(tmp_path / f"{number}.gif", save_all=True, append_images=rest)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(list(run.model.stream(tmp_path, batch_size=2))) == 4
    (warned,) = (one for one in caplog.records if one.levelname == "WARNING")
    assert "several pages or frames" in warned.getMessage()


def test_a_corrupt_picture_in_memory(run, bad):
    path = bad / "1.png"
    rows = list(run.model.stream([Image.open(path), picture(0, 0)], on_corrupt="skip"))
    assert rows[0].error
    assert rows[1].label


def test_a_stream_that_is_left_early(run, folder):
    stream = run.model.stream(folder, batch_size=2)
    assert next(stream).label
    stream.close()


@pytest.fixture
def threads():
    """Sets the threads of torch, and sets them back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("number", "batches"), [(1, 3), (2, 5)])
def test_no_more_batches_are_alive_than_keep_threads_busy(run, threads, number, batches):
    threads(number)
    alive, most = [], []

    def many():
        for index in range(64):
            image = picture(index % 3, index)
            alive.append(weakref.ref(image))
            yield image
            del image

    for _ in run.model.stream(many(), batch_size=4):
        most.append(sum(reference() is not None for reference in alive))
    assert len(most) == 64
    assert max(most) <= batches * 4


MEMORY = """
import resource, sys
import acclimate
from pathlib import Path

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

model = acclimate.load(sys.argv[1])
few, many = 200, 2000
path = Path(sys.argv[2])
for _ in range(2):
    for row in model.stream(path for _ in range(few)):
        pass
before = peak()
for row in model.stream(path for _ in range(many)):
    pass
print(peak() - before)
"""


@pytest.mark.slow
def test_ten_times_the_images_need_no_more_memory(run, tmp_path):
    picture(0, 0, size=(128, 96)).save(tmp_path / "a.bmp")
    added = run_code(MEMORY, run.folder, tmp_path / "a.bmp")
    assert float(added) < 16  # MiB; the pictures alone would be 60


def test_gradients_are_never_kept(run, folder):
    assert torch.is_grad_enabled()
    for _ in run.model.stream(folder, batch_size=3):
        assert torch.is_grad_enabled()  # between two rows the caller's own setting holds


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_runs_side_by_side_says_bit_for_bit_what_a_plain_loop_says(run, threads, number):
    """Transform and tower one after another, on one thread, then the method; with an unreadable image in between."""
    method, images = run.model.method, [picture(index % 3, index, size=(40, 30 + index)) for index in range(45)]
    threads(1)
    pixels = torch.stack([method.backbone.transform(image) for image in images])
    pieces = [piece for batch in pixels.split(16) for piece in batch.split(8)]
    with torch.no_grad():
        normalised = [method.backbone.transform.normalise(piece) for piece in pieces]
        features = torch.cat([method.backbone.encode_image(piece) for piece in normalised])
        threads(number)
        logits = torch.cat([method.logits(Batch(image_features=some)) for some in features.split(16)])
    expected = logits.double().softmax(dim=-1)
    rows = []
    for row in run.model.stream(images, batch_size=16, known=0):
        assert torch.get_num_threads() == number
        rows.append(row.probabilities)
    assert torch.equal(torch.from_numpy(np.stack(rows)), expected)
    broken = [*images[:3], b"no image", *images[3:]]
    found = list(run.model.stream(broken, batch_size=16, on_corrupt="skip", known=0))
    assert [bool(row.error) for row in found] == [False] * 3 + [True] + [False] * 42
    np.testing.assert_allclose(np.stack([row.probabilities for row in found if not row.error]), rows, atol=1e-6)


def test_a_piece_in_which_nothing_can_be_read(run):
    rows = list(run.model.stream([*[b"no image"] * 9, picture(0, 0)], on_corrupt="skip"))
    assert [bool(row.error) for row in rows] == [True] * 9 + [False]
    assert all(row.error for row in run.model.stream([b"no image"] * 9, on_corrupt="skip"))


def test_a_stream_that_is_left_begins_nothing_more(run):
    """Threads end with the stream, whatever is still waiting."""
    stream = run.model.stream((picture(0, index) for index in range(200)), batch_size=8)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("lane", "decode"))]


def test_fewer_bits_say_nearly_the_same(run, folder):
    plain, short = (run.model.predict(folder, precision=precision) for precision in ("fp32", "bf16"))
    one, other = (np.stack([row.probabilities for row in rows]) for rows in (plain, short))
    assert 0 < np.abs(one - other).max() < 0.02
    assert [row.path for row in short] == [row.path for row in plain]
    stream = run.model.stream(folder, batch_size=4, precision="bf16")
    next(stream)
    assert not torch.is_autocast_enabled("cpu")  # between two rows the caller's own setting holds
    stream.close()
    again = run.model.predict(folder)
    np.testing.assert_array_equal(np.stack([row.probabilities for row in again]), one)


def test_a_precision_that_the_device_has_no_use_for(run):
    with pytest.raises(ConfigError, match="`precision='fp16'` needs a GPU"):
        run.model.stream([], precision="fp16")
    with pytest.raises(ConfigError, match="`precision='fp8'`: choose"):
        run.model.predict([], precision="fp8")

"""`predict` beside the forward pass of its image tower alone, and beside a plain loop over transformers.

All three see the same images, as many threads, and batches of the same size, one way after another, turn by turn:

tower           the image tower on pixels that are ready, as `predict` runs it: pieces of batches side by side
tower, joint    the same on whole batches, each of which all threads share out
predict         files in, rows of a CSV file out
transformers    files through Pillow, `CLIPImageProcessor` and `get_image_features` of transformers, batch by batch, and
                cosines with class directions: what one would write by hand

What counts are the ratios of a turn, of which the median is told; others may use the machine. Memory is that of
`acclimate predict` in a process of its own, whose peak is told for each number of images.

    python benchmarks/predict_speed.py --out results/predict_speed.json
    python benchmarks/predict_speed.py --images 200 --turns 1 --sizes 200
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from acclimate.backbones import load_backbone
from acclimate.backbones.backbone import as_dual
from acclimate.data import load_data
from acclimate.runs import load
from acclimate.runs.prediction_files import open_writer
from acclimate.training.devices import Precision
from acclimate.training.lanes import Lanes
from measuring import adapt_calibrated, write_record

BATCH = 32
SIDE = 128  # pixels
CLASSES = 5


def make_images(folder: Path, count: int) -> None:
    """Write photographs of noise at several scales, as JPEG, into a folder for each class."""
    for number in range(count):
        rng = np.random.default_rng(number)
        layers = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (4, 16, SIDE)]
        scaled = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in layers]
        pixels = (0.6 * scaled[0] + 0.3 * scaled[1] + 0.1 * scaled[2]).astype(np.uint8)
        place = folder / f"class{number % CLASSES}" / f"{number:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place, quality=90)


def make_run(folder: Path, backbone: str) -> Path:
    """Adapt a linear probe, with what tells known from unknown images, and return its folder."""
    make_images(folder / "train", 30 * CLASSES)
    data = load_data(folder / "train")
    adapt_calibrated(data, "linear-probe", load_backbone(backbone), "8", 1).save(folder / "run")
    return folder / "run"


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that a call takes."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu


class Ways:
    """The ways, on the same files."""

    def __init__(self, run: Path, backbone: str, files: list[Path]) -> None:
        from transformers import CLIPImageProcessor, CLIPModel

        self.model, self.files = load(run, device="cpu"), files
        self.tower = as_dual(self.model.backbone, "this benchmark")
        transform = self.tower.transform
        pixels = torch.stack([transform(Image.open(file)) for file in files])
        self.batches = [transform.normalise(some) for some in pixels.split(BATCH)]
        place = self.tower.place
        assert place is not None  # it was loaded from a folder
        folder = place.folder
        self.plain = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = CLIPImageProcessor.from_pretrained(folder)
        self.directions = torch.randn(CLASSES, self.tower.embed_dim)
        self.table = run / "labels.csv"

    def tower_alone(self) -> None:
        """Run the tower on pixels that are ready, as `predict` does."""
        with Lanes(self.tower.device) as lanes:
            pieces = [piece for batch in self.batches for piece in batch.split(lanes.piece)]
            for future in [lanes.submit(self.tower.encode, piece, {"image_features"}) for piece in pieces]:
                future.result()

    def tower_joint(self) -> None:
        """Run the tower on whole batches, which all threads share out."""
        for batch in self.batches:
            self.tower.encode(batch, {"image_features"})

    def predict(self, precision: Precision = "fp32") -> None:
        """Label the files, and write a table."""
        task = self.model.task.predictor(self.model.method, None, 0.05)
        writer = open_writer(self.table, task.columns(self.model.method))
        for prediction in self.model.stream(self.files, BATCH, precision=precision):
            writer.write(task.row(self.model.method, prediction))
        writer.close()

    @torch.no_grad()
    def transformers(self) -> None:
        """Do the same by hand."""
        for start in range(0, len(self.files), BATCH):
            images = [Image.open(file).convert("RGB") for file in self.files[start : start + BATCH]]
            pixels = self.processor(images=images, return_tensors="pt")["pixel_values"]
            found = self.plain.get_image_features(pixel_values=pixels)
            features = found if isinstance(found, torch.Tensor) else found.pooler_output
            (torch.nn.functional.normalize(features, dim=-1) @ self.directions.T).softmax(-1).argmax(-1).tolist()


def speeds(ways: Ways, turns: int) -> list[dict[str, Any]]:
    """Return a row for each way: images a second, CPU milliseconds an image, and the ratio to the tower alone."""
    calls = {
        "tower": ways.tower_alone,
        "tower, joint": ways.tower_joint,
        "predict": ways.predict,
        "predict, bf16": lambda: ways.predict("bf16"),
        "transformers": ways.transformers,
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in calls}
    for turn in range(turns + 1):
        for way, call in calls.items():
            once = timed(call)
            if turn:  # in the first one everything becomes warm
                found[way].append(once)
    rows = []
    for way, taken in found.items():
        pairs = list(zip(found["tower"], taken, strict=True))
        rows.append(
            {
                "way": way,
                "images_per_second": len(ways.files) / statistics.median(wall for wall, _ in taken),
                "cpu_ms_per_image": 1000 * statistics.median(cpu for _, cpu in taken) / len(ways.files),
                "of_tower": statistics.median(alone[0] / own[0] for alone, own in pairs),
                "of_tower_by_cpu": statistics.median(alone[1] / own[1] for alone, own in pairs),
            }
        )
    return rows


PEAK = """
from pathlib import Path
from acclimate.cli import main
try:
    main()
finally:  # of this program alone: what the system tells of a child begins with the memory of its parent
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)
"""


def peak(run: Path, images: Path, table: Path) -> float:
    """Return the most memory that `acclimate predict` has in a process of its own, in MiB."""
    words = ["predict", str(run), str(images), "--out", str(table), "--device", "cpu", "--quiet"]
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mini-clip", help="a CLIP: id or folder")
    parser.add_argument("--images", type=int, default=512, help="in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--sizes", type=int, nargs="*", default=[2000, 20000], help="images for memory")
    parser.add_argument("--out", type=Path, help="JSON record to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        run = make_run(Path(place), options.backbone)
        make_images(Path(place) / "images", options.images)
        files = sorted((Path(place) / "images").rglob("*.jpg"))
        rows = speeds(Ways(run, options.backbone, files), options.turns)
        for row in rows:
            print(row)
        memory = []
        for size in options.sizes:
            many = Path(place) / f"many{size}"
            many.mkdir()
            for number in range(size):  # links, so that the disk holds each image once
                (many / f"{number:06d}.jpg").symlink_to(files[number % len(files)])
            memory.append({"images": size, "peak_mib": peak(run, many, Path(place) / "labels.csv")})
            print(memory[-1])
    if options.out:
        command = f"python benchmarks/predict_speed.py --images {options.images} --turns {options.turns}"
        what = "images a second of `predict`, of the tower alone, and of a plain loop; memory of `acclimate predict`"
        write_record(options.out, f"{command} --threads {options.threads}", what, rows, memory=memory)


if __name__ == "__main__":
    main()

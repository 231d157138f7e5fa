"""`acclimate demo`: the whole job, offline, on an embedded specialised domain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import synthetic
from acclimate.cli import tables
from acclimate.cli.console import out, tell
from acclimate.cli.layout import Sheet
from acclimate.cli.progress import Progress
from acclimate.cli.retelling import command
from acclimate.cli.verdicts import show_commands, show_verdict
from acclimate.errors import DataError
from acclimate.telling.words import figure_text

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.runs import AdaptedModel
    from acclimate.tasks import Task

SHOTS = 16
PER_CLASS = 30  # images of each class and acquisition
METHODS = {  # default settings, but for what keeps this short
    "coop": {"epochs": 50},
    "gdpl": {"epochs": 4},
    "auto": {},
}
DOMAIN_ENCODERS = {"gdpl": "self"}  # to pretrain one on these images takes longer than all the rest
PROMPTS = {  # domain of the prompt templates for each embedded domain
    "satellite": "satellite",
    "sar": "sar",
    "thin_section": "thin_section",
    "flow": "flow",
    "microscopy": "histology",
}


def run_demo(folder: Path, domain: str, seed: int, quiet: bool) -> None:
    """Make images, check them, compare methods, save an adapter, reload it and label new images."""
    from acclimate.data import check_data, load_data
    from acclimate.methods import get_method
    from acclimate.runs import load

    started = time.monotonic()
    kind = synthetic.get_domain(domain)

    _say(f"1. Images of {kind.title}, made from the physics in {len(kind.acquisitions)} acquisitions")
    images = folder / f"{domain}-seed{seed}"
    if not images.exists():
        synthetic.write_dataset(domain, images, per_class=PER_CLASS, seed=seed)
    data = load_data(images)
    tell(out, f"{tables.data_line(data)}: {', '.join(data.class_names)}")

    _say("2. Is the data sound?  (acclimate data check)")
    tables.show_check(check_data(data))

    _say(f"3. Adapt mini-clip to {SHOTS} labelled images a class  (acclimate adapt)")
    runs = {method: folder / f"{domain}-{method}-seed{seed}" for method in METHODS}
    models = {method: _adapt(data, method, domain, seed, run, quiet) for method, run in runs.items()}
    best, saved = _compare([model.record for model in models.values()], models["coop"].task)

    _say(f"4. Reload {runs[saved]} and label new images  (acclimate predict)")
    fresh = _new_images(folder / f"{domain}-new", kind, seed)
    right = 0
    model = load(runs[saved])
    for prediction in model.predict(fresh):
        right += Path(prediction.path).stem == prediction.label
        tables.show_prediction(prediction, model.task)
    tell(out, f"{right} of {len(kind.classes)} right; the file name is the true class", "note")

    _say(f"5. Done in {time.monotonic() - started:.0f} s. Your turn, with a folder that has one sub-folder a class:")
    encoder = ["--domain-encoder", "runs/mae"] if get_method(best).inputs.domain_encoder else []
    show_commands(
        command("data", "check", "MY_IMAGES"),
        command("pretrain", "mae", "MY_IMAGES", "--out", "runs/mae"),
        command("adapt", "MY_IMAGES", "--method", best, *encoder, "--out", "runs/mine"),
        command("predict", "runs/mine", "NEW_IMAGES", "--out", "labels.csv"),
        command("report", runs[saved], "--out", folder / "report.html"),
        command("adapt", "MY_IMAGES", "--method", "gdpl", "--domain-encoder", "runs/mae"),
        command("adapt", "MY_IMAGES", "--backbone", "openai/clip-vit-base-patch16"),
        command("predict", runs[saved], fresh, "--json"),
    )
    tell(
        out,
        f"{best} is the best row above; pretrain mae makes a domain encoder, labels are not read; the backbone named "
        "is a full-size CLIP from the Hub.",
        "note",
    )


def _adapt(data: ImageData, method: str, domain: str, seed: int, run: Path, quiet: bool) -> AdaptedModel:
    from acclimate.runs import adapt

    with Progress(quiet) as progress:
        return adapt(
            data,
            method,
            shots=SHOTS,
            seed=seed,
            domain=PROMPTS[domain],
            settings=METHODS[method],
            domain_encoder=DOMAIN_ENCODERS.get(method),
            out=run,
            cache_dir=run.parent / "features",
            progress=progress,
        )


def _compare(records: list[dict[str, Any]], task: Task[Any]) -> tuple[str, str]:
    """Show every method once, with the time that it took; return the best one, and the best that has been saved."""
    from acclimate.methods import get_method

    rows: dict[str, tuple[dict[str, Any], float]] = {}
    for record in records:
        for name, metrics in {**record["baselines"], record["method"]: record["metrics"]}.items():
            rows.setdefault(name, (metrics, record["cost"]["seconds"][name]))
    plain = {name: not get_method(name).inputs.domain_encoder for name in rows}  # of equals, what needs less
    order = sorted(rows, key=lambda name: (rows[name][0]["accuracy"]["value"], plain[name]))
    sheet = Sheet(["method", "accuracy", "balanced", "ECE", "s"])
    for name in order:
        metrics, spent = rows[name]
        figures = (figure_text(metric, metrics) for metric in ("accuracy", "balanced_accuracy", "ece"))
        sheet.add(name, *figures, f"{spent:.1f}", style="best" if name == order[-1] else "")
    tables.show_figures(sheet)
    settings = "; ".join(
        f"{method} with {', '.join(f'{name}={value}' for name, value in values.items())}"
        for method, values in METHODS.items()
        if values
    )
    samples = records[0]["metrics"]["samples"]
    tell(out, f"{samples} test images, never used for training or selection; {settings}", "note")
    tell(
        out,
        "gdpl reads the features of a domain encoder too. Here that is mini-clip itself (--domain-encoder self), "
        "so domain-linear-probe repeats linear-probe; acclimate pretrain mae makes one from your own images.",
        "note",
    )
    saved = max(records, key=lambda record: record["metrics"]["accuracy"]["value"])
    show_verdict(saved["method"], saved["metrics"], saved.get("verdict"), task)
    return order[-1], saved["method"]


def _new_images(folder: Path, kind: synthetic.SyntheticDomain, seed: int) -> Path:
    """Write one image of every class that is in no split, named by its class."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from None
    for number, class_name in enumerate(kind.classes):
        acquisition = kind.acquisitions[number % len(kind.acquisitions)]
        image = synthetic.render(kind.name, class_name, acquisition, index=PER_CLASS + number, seed=seed)
        image.save(folder / f"{class_name}.png")
    return folder


def _say(line: str) -> None:
    out.print()
    tell(out, line, "best")

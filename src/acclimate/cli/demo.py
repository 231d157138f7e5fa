"""`acclimate demo`: the whole job, offline, on an embedded specialised domain."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from acclimate import synthetic
from acclimate.cli import tables
from acclimate.cli.console import out
from acclimate.cli.progress import TerminalProgress

SHOTS = 16
PER_CLASS = 40  # pictures of each class and acquisition
EPOCHS = 50  # a quarter of the published number keeps the demo short; its result is labelled with it
PROMPTS = {  # domain of the prompt templates for each embedded domain
    "satellite": "satellite",
    "sar": "sar",
    "thin_section": "thin_section",
    "flow": "flow",
    "microscopy": "histology",
}
METHODS = {"coop": {"epochs": EPOCHS}, "kgcoop": {"epochs": EPOCHS}}


def run_demo(folder: Path, domain: str, seed: int, quiet: bool) -> None:
    """Make pictures, check them, compare methods, save an adapter, reload it and label new pictures."""
    from acclimate.data import check_data, load_data
    from acclimate.runs import adapt, load

    started = time.monotonic()
    kind = synthetic.get_domain(domain)
    data_dir = folder / f"{domain}-data-seed{seed}"
    _say(f"1. Pictures: {kind.title}, made from the physics ({', '.join(kind.acquisitions)})")
    if not data_dir.exists():
        synthetic.write_dataset(domain, data_dir, per_class=PER_CLASS, seed=seed)
    data = load_data(data_dir)
    out.print(f"   {tables.data_line(data)}")

    _say("2. Is the data sound?")
    report = check_data(data)
    tables.show_check(report)

    _say(f"3. Adapt mini-clip to {SHOTS} labelled images a class")
    rows: dict[str, tuple[dict[str, Any], float]] = {}
    cache = folder / "features"
    for method, settings in METHODS.items():
        run = folder / f"{domain}-{method}-seed{seed}"
        with TerminalProgress(quiet) as progress:
            model = adapt(
                data,
                method,
                shots=SHOTS,
                seed=seed,
                domain=PROMPTS[domain],
                settings=settings,
                out=run,
                cache_dir=cache,
                progress=progress,
            )
        seconds = model.record["cost"]["seconds"]
        rows |= {name: (metrics, seconds[name]) for name, metrics in model.record["baselines"].items()}
        rows[method] = (model.record["metrics"], seconds[method])
    shown = tables.table("method", "accuracy", "balanced", "ECE", "seconds")
    for name, (metrics, spent) in sorted(rows.items(), key=lambda row: row[1][0]["accuracy"]["value"]):
        figures = (tables.figure(metric, metrics[metric]) for metric in ("accuracy", "balanced_accuracy", "ece"))
        shown.add_row(name, *figures, f"{spent:.1f}")
    out.print(shown)
    out.print(
        f"   [note]{metrics['samples']} test images never used for training or selection; "
        f"coop and kgcoop with {EPOCHS} epochs instead of the published number[/]"
    )

    _say("4. Save, load, label new pictures")
    reloaded = load(run)
    fresh = folder / "new"
    fresh.mkdir(parents=True, exist_ok=True)
    for number, class_name in enumerate(kind.classes):
        picture = synthetic.render(domain, class_name, kind.acquisitions[0], index=10_000 + number, seed=seed)
        picture.save(fresh / f"{class_name}.png")
    for prediction in reloaded.predict(fresh):
        tables.show_prediction(prediction)

    _say(f"5. Your turn ({time.monotonic() - started:.0f} s so far)")
    quoted = shlex.quote(str(run))
    out.print("   acclimate data check MY_IMAGES            # a folder with one sub-folder a class")
    out.print("   acclimate adapt MY_IMAGES --method coop --backbone openai/clip-vit-base-patch16")
    out.print(f"   acclimate predict {quoted} {shlex.quote(str(fresh))} --out labels.csv", soft_wrap=True)


PROMPTS = {
    "satellite": "satellite",
    "sar": "sar",
    "thin_section": "thin_section",
    "flow": "flow",
    "microscopy": "histology",
}


def _say(line: str) -> None:
    out.print(f"\n[best]{line}[/]")

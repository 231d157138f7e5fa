"""One job, from its dictionary to its folder; and the process that does jobs one after another."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from acclimate.bench.jobs import DONE, JOB, OUTPUT, Job, load_source
from acclimate.bench.spec import Source
from acclimate.errors import AcclimateError
from acclimate.files import replace_file
from acclimate.prompts import PromptSet, get_domain
from acclimate.runs import adapt_trial
from acclimate.training.devices import resolve_device

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.data import ImageData

PULSE = 0.5  # seconds between two reports of progress


class Workshop:
    """What jobs share within a process: loaded data sets and backbones.

    Args:
        sources: where the data sets lie, by name.
        out: folder of the bench.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: folder of the feature cache, or none.
    """

    def __init__(self, sources: Mapping[str, Source], out: Path, device: str, cache_dir: Path | None) -> None:
        self.sources, self.out, self.device, self.cache_dir = sources, out, device, cache_dir
        self.backbone = cache(self._backbone)
        self.data = cache(self._data)

    def _backbone(self, name: str) -> DualEncoder:
        from acclimate.backbones import load_backbone

        return load_backbone(name, device=resolve_device(self.device))

    def _data(self, name: str) -> ImageData:
        return load_source(name, self.sources[name])

    def run(self, job: Job, report: Callable[[float], None] = lambda share: None) -> None:
        """Do a job, or go on with it where it was killed, and mark it done.

        Args:
            job: what to do.
            report: told now and then which share of the training is done.
        """
        content, place = job.content, job.folder(self.out)
        place.mkdir(parents=True, exist_ok=True)
        replace_file(place / JOB, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
        sets = {name: self.data(name) for name in content["data"]}
        prompts = {
            name: PromptSet(get_domain(facts["domain"]), overrides=facts["names"])
            for name, facts in content["data"].items()
        }
        trial = job.protocol.draw(content["trial"], sets, content["shots"], content["seed"])
        own = prompts[next(name for name in content["trial"].split("+") if name in prompts)] if len(sets) > 1 else None
        adapt_trial(
            trial,
            content["method"],
            self.backbone(content["backbone"]["id"]),
            prompts=own or next(iter(prompts.values())),
            test_prompts={name: prompts[name] for name in trial.tests if len(sets) > 1 and name in prompts},
            shots=content["shots"],
            seed=content["seed"],
            settings=content["config"],
            out=place,
            device=self.device,
            precision=content["precision"],
            cache_dir=self.cache_dir,
            progress=_Pulse(report),
        )
        (place / DONE).touch()


class _Pulse:
    """Progress that reports shares, not more often than somebody can look."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self.report, self.total, self.done, self.said = report, 0, 0, 0.0

    def start(self, task: str, total: int) -> None:
        self.total, self.done = total, 0

    def advance(self, amount: int = 1, **figures: float) -> None:
        self.done += amount
        now = time.monotonic()
        if self.total and now - self.said >= PULSE:
            self.said = now
            self.report(min(self.done / self.total, 1.0))

    def finish(self) -> None:
        self.total = 0


def main() -> None:
    """Read jobs from standard input, one JSON object a line, and answer each on standard output.

    The first line says where things lie. Whatever a job prints goes to a file in its folder.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    hello = json.loads(sys.stdin.readline())
    shop = Workshop(
        {name: _source(entry) for name, entry in hello["sources"].items()},
        Path(hello["out"]),
        hello["device"],
        hello["cache_dir"] and Path(hello["cache_dir"]),
    )
    for line in sys.stdin:
        order = json.loads(line)
        job = Job(order["content"], order["label"])
        place = job.folder(shop.out)
        place.mkdir(parents=True, exist_ok=True)
        with (place / OUTPUT).open("w", encoding="utf-8") as output, _redirected(output):
            answer = _attempt(shop, job, lambda share: _say(replies, {"progress": share}))
        _say(replies, answer)


def _attempt(shop: Workshop, job: Job, report: Callable[[float], None]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        shop.run(job, report)
    except AcclimateError as error:
        logging.getLogger("acclimate.bench").error("%s", error)
        return {"failed": [str(error)]}
    except Exception:
        traceback.print_exc()
        return {"failed": traceback.format_exc().strip().splitlines()[-3:]}
    return {"seconds": time.monotonic() - started}


@contextlib.contextmanager
def _redirected(output: TextIO) -> Any:
    """Send what this process writes, and what the library says, to a file."""
    handler = logging.StreamHandler(output)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    library = logging.getLogger("acclimate")
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    library.propagate = False
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(output.fileno(), stream.fileno())
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        library.removeHandler(handler)


def _say(replies: TextIO, answer: Mapping[str, Any]) -> None:
    replies.write(json.dumps(answer) + "\n")


def _source(entry: Mapping[str, Any]) -> Source:
    images_root = entry["images_root"]
    return Source(**{**entry, "path": Path(entry["path"]), "images_root": images_root and Path(images_root)})


def source_entry(source: Source) -> dict[str, Any]:
    """Return a source as plain values."""
    values = asdict(source)
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


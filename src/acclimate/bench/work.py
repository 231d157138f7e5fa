"""One job, from its dictionary to its folder; and the process that does jobs one after another."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from acclimate.backbones.backbone import as_dual
from acclimate.bench.encoders import identity
from acclimate.bench.facts import listing, prompts_of
from acclimate.bench.jobs import DONE, JOB, OUTPUT, Job, given_labels, load_source
from acclimate.bench.site import Site
from acclimate.bench.spec import Source
from acclimate.errors import AcclimateError, BackboneError, DataError
from acclimate.files import replace_file
from acclimate.methods import load_plugin
from acclimate.prompts import ReferencePrompts, open_reference_prompts
from acclimate.runs import RunOptions, adapt_trial, folder
from acclimate.runs.encoders import open_backbone
from acclimate.training.devices import resolve_device

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.data import ImageData

PULSE = 0.5  # seconds between two reports of progress
LAST_FRAMES = 3  # lines of a traceback that a report shows; all of it is in the output of the job


def open_worker(site: Site) -> Worker:
    """Return a worker that knows the methods of its plugins.

    Raises:
        ConfigError: a plugin cannot be imported.
    """
    for plugin in site.plugins:
        load_plugin(plugin)
    return Worker(site.sources, site.out, site.device, site.cache_dir)


class Worker:
    """What jobs share within a process: loaded data sets, and the encoders of the last jobs.

    Args:
        sources: where the data sets lie, by name.
        out: folder of the bench.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: folder of the feature cache, or none.
    """

    def __init__(self, sources: Mapping[str, Source], out: Path, device: str, cache_dir: Path | None) -> None:
        self.sources, self.out, self.device, self.cache_dir = sources, out, device, cache_dir
        self.backbone = lru_cache(maxsize=1)(self._backbone)  # jobs come sorted by it
        self.scorer = lru_cache(maxsize=1)(self._backbone)
        self.domain_encoder = lru_cache(maxsize=2)(self._domain_encoder)
        self.data = cache(self._data)

    def _backbone(self, name: str) -> Backbone:
        return open_backbone(name, resolve_device(self.device))

    def _domain_encoder(self, name: str, backbone: str) -> DomainEncoder:
        from acclimate.backbones import load_domain_encoder

        return load_domain_encoder(name, backbone=self.backbone(backbone), device=resolve_device(self.device))

    def _encoders(self, job: Job) -> tuple[Backbone, DomainEncoder | None, Backbone | None]:
        """Return the encoders of a job, if they are still what was planned."""
        backbone = self.backbone(job.backbone)
        domain = None if job.domain_encoder is None else self.domain_encoder(job.domain_encoder, job.backbone)
        scorer = None if job.scorer is None else self.scorer(job.scorer)
        for entry, encoder in (("backbone", backbone), ("domain_encoder", domain), ("scorer", scorer)):
            if encoder is not None and identity(encoder) != job.content[entry]:
                raise BackboneError(f"{entry} {encoder.name} has changed since the bench began; start it again")
        return backbone, domain, scorer

    def _data(self, name: str, known: str) -> ImageData:
        data = load_source(name, self.sources[name])
        if listing(data) != known:
            raise DataError(f"data.{name}: {self.sources[name].path} has changed since the bench began; start it again")
        return data

    def run(self, job: Job, report: Callable[[float], None] = lambda share: None) -> None:
        """Do a job, or go on with it where it was killed, and mark it done.

        Args:
            job: what to do.
            report: told now and then which share of the training is done.

        Raises:
            AcclimateError: it cannot be done, such as data that are gone or a loss that is not finite.
        """
        content, place = job.content, job.folder(self.out)
        place.mkdir(parents=True, exist_ok=True)
        replace_file(place / JOB, (json.dumps(content, indent=1) + "\n").encode())
        facts, protocol = content["data"], job.protocol
        sets = {name: self.data(name, known["listing"]) for name, known in facts.items()}
        backbone, domain_encoder, scorer = self._encoders(job)
        trial = protocol.draw(content["trial"], sets, content["shots"], content["seed"])
        _check_given(job, trial.train.domain_names)
        adapt_trial(
            trial,
            content["method"],
            backbone,
            RunOptions(
                out=place,
                device=self.device,
                precision=content["precision"],
                cache_dir=self.cache_dir,
                progress=_Pulse(report),
                shared=self.out / folder.PREREQUISITES,
            ),
            prompts=prompts_of(facts, job.sources),
            test_prompts={name: prompts_of(facts, [name]) for name in trial.tests if name in {*facts} - {*job.sources}},
            shots=content["shots"],
            seed=content["seed"],
            settings=content["config"],
            domain_encoder=domain_encoder,
            reference_prompts=_references(job, trial.train.class_names),
            scorer=None if scorer is None else as_dual(scorer, "scorer"),
        )
        (place / DONE).touch()


def _check_given(job: Job, domains: Sequence[str]) -> None:
    """Refuse files that stand in for runs, if they are no longer what was planned."""
    planned = job.content.get("files", {})
    for domain, sha256 in given_labels(job.content["method"], job.content["config"], domains).items():
        if sha256 != planned.get(domain):
            raise DataError(f"the prompt label of '{domain}' has changed since the bench began; start it again")


def _references(job: Job, class_names: Sequence[str]) -> ReferencePrompts | None:
    """Return the reference prompts of a job, if they are still what was planned; or none."""
    if "reference_prompts" not in job.content:
        return None
    given, prompts = job.reference_prompts, prompts_of(job.content["data"], job.sources)
    found = open_reference_prompts(None if given is None else Path(given), class_names, prompts)
    if found.fingerprint[:16] != job.content["reference_prompts"]:
        raise DataError(f"{found.source}: the reference prompts have changed since the bench began; start it again")
    return found


class _Pulse:
    """Progress that reports shares, not more often than somebody can look."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self.report, self.said = report, 0.0
        self.tasks: list[tuple[int, int]] = []  # done, total

    def start(self, task: str, total: int | None) -> None:
        self.tasks.append((0, total or 0))

    def advance(self, amount: int = 1, **figures: float) -> None:
        if not self.tasks:
            return
        done, total = self.tasks[-1]
        self.tasks[-1] = (done + amount, total)
        now = time.monotonic()
        if total and now - self.said >= PULSE:
            self.said = now
            self.report(min((done + amount) / total, 1.0))

    def finish(self) -> None:
        self.tasks.pop()


def main() -> NoReturn:
    """Read jobs from standard input, one JSON object a line, and answer each on standard output.

    The first line says where things lie. Whatever a job prints goes to a file in its folder.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    worker = open_worker(Site.of_plain(json.loads(sys.stdin.readline())))
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        job = Job.of_plain(orders.get())
        _say(replies, attempt(worker, job, lambda share: _say(replies, {"progress": share})))


def _listen(orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Take orders; end the process as soon as nobody is left to give any, in the middle of a job too."""
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


def attempt(worker: Worker, job: Job, report: Callable[[float], None]) -> dict[str, Any]:
    """Do a job, and return what became of it: the `seconds` that it took, or `failed`, the last lines that it said."""
    started = time.monotonic()
    try:
        with _output(job.folder(worker.out)):
            worker.run(job, report)
    except AcclimateError as error:
        return {"failed": [str(error)]}
    except Exception as error:
        return {"failed": "".join(traceback.format_exception(error)).splitlines()[-LAST_FRAMES:]}
    return {"seconds": time.monotonic() - started}


@contextlib.contextmanager
def _output(place: Path) -> Iterator[None]:
    """Send what this process writes, what the library says and what goes wrong to a file in the folder of a job."""
    place.mkdir(parents=True, exist_ok=True)
    library = logging.getLogger("acclimate")
    library.setLevel(logging.INFO)
    library.propagate = False
    with (place / OUTPUT).open("w", encoding="utf-8") as output:
        handler = logging.StreamHandler(output)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        library.addHandler(handler)
        before = [_turn(stream, output.fileno()) for stream in (sys.stdout, sys.stderr)]
        try:
            yield
        except AcclimateError as error:
            logging.getLogger("acclimate.bench").error("%s", error)
            raise
        except Exception:
            traceback.print_exc()
            raise
        finally:
            for stream, file in zip((sys.stdout, sys.stderr), before, strict=True):
                os.close(_turn(stream, file))
                os.close(file)
            library.removeHandler(handler)


def _turn(stream: TextIO, file: int) -> int:
    """Let a stream of this process write to another open file, and return the one that it has written to."""
    stream.flush()
    before = os.dup(stream.fileno())
    os.dup2(file, stream.fileno())
    return before


def _say(replies: TextIO, answer: Mapping[str, Any]) -> None:
    replies.write(json.dumps(answer) + "\n")

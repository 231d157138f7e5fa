"""Local processes that do jobs side by side, threads shared out; one that dies takes only its own job with it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from acclimate.bench.jobs import OUTPUT, Job
from acclimate.bench.spec import Source
from acclimate.bench.work import source_entry

LAST_LINES = 6
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORKER = "import sys; sys.path[:] = {path!r}; from acclimate.bench.work import main; main()"  # the same modules as here


class Observer(Protocol):
    """Told what becomes of jobs, from several threads but never from two at once."""

    def started(self, job: Job) -> None:
        """A process has taken the job."""

    def progressed(self, job: Job, share: float) -> None:
        """A share of its current task, 0 to 1, is done."""

    def finished(self, job: Job, seconds: float) -> None:
        """It is done."""

    def failed(self, job: Job, lines: Sequence[str]) -> None:
        """It failed; `lines` are the last that it said."""


class Pool:
    """Runs jobs in local processes.

    Each process loads its data sets and backbones once and does one job after another. All of them share the cores:
    cores / processes threads each, or fewer where OMP_NUM_THREADS says so. The share does not depend on how many jobs
    are left, since the number of threads may decide the last bits of a result.

    Args:
        sources: where the data sets lie, by name.
        out: folder of the bench.
        processes: how many, 1 or more.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: folder of the feature cache, or none.
        plugins: modules with methods, which each process imports.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        out: Path,
        processes: int,
        device: str,
        cache_dir: Path | None,
        plugins: Sequence[str] = (),
    ) -> None:
        self.hello = {
            "plugins": list(plugins),
            "sources": {name: source_entry(source) for name, source in sources.items()},
            "out": str(out),
            "device": device,
            "cache_dir": None if cache_dir is None else str(cache_dir),
        }
        self.out, self.processes = out, processes
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, jobs: Sequence[Job], observer: Observer) -> None:
        """Do all jobs; those that fail are reported, and the others go on.

        On an interrupt the processes are ended; what they have written serves the next start.
        """
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        errors: list[BaseException] = []
        threads = [
            threading.Thread(target=self._serve, args=(waiting, observer, errors), daemon=True)
            for _ in range(min(self.processes, len(jobs)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():  # a join without limit would not hear an interrupt on every system
                    thread.join(0.5)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def _serve(self, waiting: queue.SimpleQueue[Job], observer: Observer, errors: list[BaseException]) -> None:
        worker: _Worker | None = None
        try:
            while not self._stop.is_set():
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    break
                worker = worker or self._hire(job)
                with self._lock:
                    observer.started(job)
                answer = worker.do(job, partial(self._tell, observer.progressed, job))
                if self._stop.is_set():
                    break
                if "seconds" in answer:
                    self._tell(observer.finished, job, answer["seconds"])
                else:
                    self._tell(observer.failed, job, answer["failed"])
                if worker.dead:
                    worker.end()
                    worker = None
        except BaseException as error:  # what the observer raises ends the bench, not silently one thread
            errors.append(error)
            self._stop.set()
        finally:
            if worker is not None:
                worker.end()

    def _hire(self, job: Job) -> _Worker:
        place = job.folder(self.out)
        place.mkdir(parents=True, exist_ok=True)
        with (place / OUTPUT).open("wb") as output:  # what goes wrong before the first job is a trouble of that job
            return _Worker(self.out, self.hello, threads_each(self.processes), output, self._stop)

    def _tell(self, what: Callable[[Job, Any], None], job: Job, news: Any) -> None:
        with self._lock:
            what(job, news)


def threads_each(processes: int) -> int:
    """Return how many threads each of several processes may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // processes)
    asked = os.environ.get(THREADS[0], "")
    return max(1, min(share, int(asked))) if asked.isdecimal() else share


class _Worker:
    """One process and the lines to and from it."""

    def __init__(self, out: Path, hello: Mapping[str, Any], threads: int, output: Any, stop: threading.Event) -> None:
        self.out, self.stop = out, stop
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER.format(path=[*map(str, sys.path)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, **dict.fromkeys(THREADS, str(threads))},
            text=True,
            encoding="utf-8",
            start_new_session=True,  # an interrupt from the keyboard is for the parent, which ends its children
        )
        self.dead = False
        self._write(hello)
        threading.Thread(target=self._watch, daemon=True).start()

    def do(self, job: Job, report: Callable[[float], None]) -> dict[str, Any]:
        """Send a job and wait for what becomes of it."""
        assert self.process.stdout is not None
        self._write(asdict(job))
        for line in self.process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "progress" not in answer:
                return answer
            report(answer["progress"])
        self.dead = True
        code = self.process.wait()
        words = f"signal {-code}, as when memory runs out" if code < 0 else f"code {code}"
        return {"failed": [*_last_lines(job.folder(self.out) / OUTPUT), f"its process ended with {words}"]}

    def end(self) -> None:
        """End the process; it has nothing to lose but its current job, which goes on at the next start."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _write(self, content: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead process is noticed when its answer is awaited
            self.process.stdin.write(json.dumps(content) + "\n")
            self.process.stdin.flush()

    def _watch(self) -> None:
        while self.process.poll() is None:
            if self.stop.wait(0.2):
                self.process.kill()


def _last_lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    return []

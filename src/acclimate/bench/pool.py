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
from typing import Any

from acclimate.bench.jobs import OUTPUT, Job
from acclimate.bench.launching import THREADS, Observer, Tries, threads_of
from acclimate.bench.site import Site

LAST_LINES = 6
WORKER = "import sys; sys.path[:] = {path!r}; from acclimate.bench.work import main; main()"  # the same modules as here


class Pool:
    """Runs jobs in local processes; a `Launcher`.

    Each process loads its data sets and backbones once and does one job after another. All of them share the cores:
    cores / processes threads each, or fewer where OMP_NUM_THREADS says so. The share does not depend on how many jobs
    are left, since the number of threads may decide the last bits of a result. A job that names its cores gets a
    process with so many threads; what else it asks for is left to whoever chooses the number of processes.

    Args:
        processes: how many, 1 or more.
        retries: how often a job that fails is tried again.
    """

    def __init__(self, processes: int = 1, retries: int = 0) -> None:
        self.processes, self.tries = processes, Tries(retries)
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def slots(self, jobs: Sequence[Job]) -> int:
        """Return how many run side by side."""
        return self.processes

    def run(self, site: Site, jobs: Sequence[Job], observer: Observer) -> None:
        """Do all jobs; see `Launcher`.

        On an interrupt the processes are ended; what they have written serves the next start.
        """
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        errors: list[BaseException] = []
        threads = [
            threading.Thread(target=self._serve, args=(site, waiting, observer, errors), daemon=True)
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

    def _serve(
        self, site: Site, waiting: queue.SimpleQueue[Job], observer: Observer, errors: list[BaseException]
    ) -> None:
        worker: _Worker | None = None
        try:
            while not self._stop.is_set():
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    break
                worker = self._hire(site, job, worker)
                with self._lock:
                    observer.started(job)
                answer = worker.do(job, partial(self._tell, observer.progressed, job))
                if self._stop.is_set():
                    break
                if "seconds" in answer:
                    self._tell(observer.finished, job, answer["seconds"])
                elif self._again(job):
                    self._tell(observer.repeated, job, answer["failed"])
                    waiting.put(job)
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

    def _hire(self, site: Site, job: Job, worker: _Worker | None) -> _Worker:
        """Return the process, where it has the threads that a job asks for, or a new one."""
        threads = threads_of(job, threads_each(self.processes))
        if worker is not None:
            if worker.threads == threads:
                return worker
            worker.end()
        place = job.folder(site.out)
        place.mkdir(parents=True, exist_ok=True)
        with (place / OUTPUT).open("wb") as output:  # what goes wrong before the first job is a trouble of that job
            return _Worker(site, threads, output, self._stop)

    def _again(self, job: Job) -> bool:
        with self._lock:
            return self.tries.again(job.hash)

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

    def __init__(self, site: Site, threads: int, output: Any, stop: threading.Event) -> None:
        self.out, self.threads, self.stop = site.out, threads, stop
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
        self._write(site.plain())
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

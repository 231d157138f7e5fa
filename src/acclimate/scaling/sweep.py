"""The jobs of a bench as Ray tasks, and what does one of them where it lands."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import acclimate
from acclimate.bench import Job, Observer
from acclimate.bench.launching import Tries
from acclimate.bench.site import Site
from acclimate.bench.work import Worker, attempt, open_worker
from acclimate.errors import AcclimateError
from acclimate.scaling.cluster import RETRIES, Cluster, Lost, enter, machine, options

SEEN = 90.0  # seconds after which a shared file system shows what another machine has written
LOOK = 0.5  # seconds between two looks


class RayTasks:
    """Does jobs as tasks of a Ray cluster; a `Launcher`.

    A task takes the cores, GPUs and memory that its job asks for, one core by default, and computes on as many threads
    as cores, or fewer where OMP_NUM_THREADS says so and the job says nothing. The processes of the cluster keep the
    data sets and encoders of their last jobs; one that has used a GPU does a single job, since it cannot change to
    another GPU. All machines must see the folders of the bench and of the data under the same names.

    Args:
        cluster: where they run.
        most: how many side by side, at most; none: as many as the cluster has room for.
        retries: how often a job that failed, or whose process or machine has gone, is tried again.
    """

    def __init__(self, cluster: Cluster, most: int | None = None, retries: int = RETRIES) -> None:
        self.cluster, self.most, self.tries = cluster, most, Tries(retries)

    def slots(self, jobs: Sequence[Job]) -> int:
        """Return how many of these jobs run side by side on the machines that are there now."""
        room = [self.cluster.slots(asked) for asked in {job.resources for job in jobs}]
        return max(1, min([*room, self.most or len(jobs), len(jobs)]))

    def run(self, site: Site, jobs: Sequence[Job], observer: Observer) -> None:
        """Do all jobs; see `Launcher`.

        Raises:
            ConfigError: a job asks for what the only machine does not have.
        """
        for job in {job.resources: job for job in jobs}.values():
            self.cluster.check(job.resources, job.describe())
        waiting, running = deque(jobs), dict[Any, Job]()
        try:
            while waiting or running:
                while waiting and (self.most is None or len(running) < self.most):
                    job = waiting.popleft()
                    running[self._submit(site, job)] = job
                for task, answer in self.cluster.answers(running):
                    if self._is_over(site, running[task], answer, observer, waiting):
                        del running[task]
        finally:
            self.cluster.cancel(running)

    def _submit(self, site: Site, job: Job) -> Any:
        """Hand a job to the cluster, and return the generator of what it says."""
        task = self.cluster.ray.remote(perform).options(
            name=f"acclimate {job.hash}",
            num_returns="streaming",
            max_retries=0,  # they are counted and told here
            **options(job.resources),
        )
        return task.remote(json.dumps(site.plain(), sort_keys=True), asdict(job), os.getcwd(), acclimate.__version__)

    def _is_over(self, site: Site, job: Job, answer: Any, observer: Observer, waiting: deque[Job]) -> bool:
        """Pass on what was heard of a job, and return whether it is done or gone."""
        if isinstance(answer, Lost):
            answer = {"failed": [answer.reason]}
        if "started" in answer:
            observer.started(job)
        elif "progress" in answer:
            observer.progressed(job, answer["progress"])
        elif "seconds" in answer and _is_seen(site, job):
            observer.finished(job, answer["seconds"])
            return True
        else:
            lines = answer.get("failed") or [_unseen(site, answer["on"])]
            if self.tries.again(job.hash):
                observer.repeated(job, lines)
                waiting.append(job)
            else:
                observer.failed(job, lines)
            return True
        return False


def _is_seen(site: Site, job: Job) -> bool:
    """Return whether a job that is done somewhere is seen here; a shared file system may show it a little later."""
    deadline = time.monotonic() + SEEN
    while not job.is_done(site.out):
        if time.monotonic() > deadline:
            return False
        os.scandir(site.out / "jobs").close()  # makes it look again
        time.sleep(LOOK)
    return True


def _unseen(site: Site, where: str) -> str:
    return f"it is done on {where}, and {site.out} here does not show it; use a folder that all machines share"


def perform(site: str, job: Mapping[str, Any], folder: str, version: str) -> Iterator[dict[str, Any]]:
    """Do a job in this process, and yield that it has `started`, its `progress`, and what became of it.

    Args:
        site: what `Site.plain` has made plain, as JSON.
        job: a job as plain values.
        folder: the one from which relative paths count.
        version: of acclimate, which has planned the job.
    """
    yield {"started": machine()}
    try:
        worker = _worker(site, folder, version)
    except AcclimateError as error:
        yield {"failed": [f"{machine()}: {error}"]}
        return
    news = queue.SimpleQueue[dict[str, Any]]()

    def work() -> None:
        try:
            news.put(attempt(worker, Job.of_plain(job), lambda share: news.put({"progress": share})))
        except BaseException as error:  # such as a full disk, where not even the output can be written
            news.put({"failed": [f"{machine()}: {error}"]})

    threading.Thread(target=work, daemon=True).start()
    answer = {"progress": 0.0}
    while "progress" in answer:
        answer = news.get()
        yield {**answer, "on": machine()}


@lru_cache(maxsize=1)
def _worker(site: str, folder: str, version: str) -> Worker:
    """Return what the jobs of this process share.

    Raises:
        AcclimateError: this machine cannot take part in the bench.
    """
    enter(folder, version)
    found = Site.of_plain(json.loads(site))
    if not (found.out / "jobs").is_dir():
        raise AcclimateError(f"{found.out} is not here; name an `out` that all machines share")
    return open_worker(found)

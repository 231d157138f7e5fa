"""A Ray cluster: one that runs somewhere, or one on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple

import acclimate
from acclimate.bench.launching import THREADS
from acclimate.bench.resources import Resources
from acclimate.errors import AcclimateError, ConfigError, RunError, brief
from acclimate.extras import require

EXTRA = "ray"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what asks for no GPU sees those that are there, as without Ray
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what Ray would print on standard output, such as of a machine that is lost
}
ONCE = ("RAY_NUM_REDIS_GET_RETRIES", "1")  # how often a head that does not answer is asked; usually for many minutes
STORE = 200 << 20  # bytes of the store of objects on this machine; what passes through it is small
RETRIES = 2  # how often what failed is tried again
ANSWER = 10.0  # seconds in which the head of a cluster answers
PATIENCE = 1.0  # seconds in which nothing need be heard

logger = logging.getLogger("acclimate.scaling")


class Lost(NamedTuple):
    """What is heard of a task whose process or machine has gone, or that Ray could not run; in a line."""

    reason: str


class Cluster:
    """A Ray cluster, within a `with`.

    Ray's dashboard, usage statistics and messages stay off in one that starts here; what runs at an address is left as
    its owner has set it up. Where this process is connected to Ray already, that connection is used and kept.

    Args:
        address: of the head, as `ray.init` has it, such as `10.0.0.1:6379` or `auto`; none starts one on this machine,
            with the cores that this process may use, which ends with the `with`.
        cores: how many cores one that starts here has; by default those that this process may use.
    """

    def __init__(self, address: str | None = None, cores: int | None = None) -> None:
        self.address, self.cores = address, cores
        self._kept = False

    def __enter__(self) -> Cluster:
        """Connect, or start.

        Raises:
            AcclimateError: Ray is not installed.
            RunError: there is no cluster at the address, or none can be started.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        if self.address is not None:
            os.environ.setdefault(*ONCE)
        self.ray: Any = require("ray", EXTRA)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        self._kept = self.ray.is_initialized()
        if not self._kept:
            self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster; one that was started here ends, with all that runs in it."""
        if not self._kept:
            self.ray.shutdown()

    def _connect(self) -> None:
        if self.address is not None:
            _reach(self.address)
        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": False}
        here = {"num_cpus": self.cores or cores(), "include_dashboard": False, "object_store_memory": STORE}
        try:
            self.ray.init(address=self.address or "local", **quiet, **({} if self.address else here))
        except (ConnectionError, RuntimeError, ValueError, OSError, self.ray.exceptions.RayError) as error:
            reason = one_line(error)
            raise RunError(
                f"cannot reach a Ray cluster at {self.address} ({reason}); `address` is what `ray start` has shown"
                if self.address
                else f"cannot start Ray on this machine ({reason}); see /tmp/ray/session_latest/logs"
            ) from None

    def nodes(self) -> list[Mapping[str, float]]:
        """Return what each machine of the cluster has: `CPU`, `GPU`, `memory` in bytes."""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def slots(self, asked: Resources) -> int:
        """Return how many tasks with these resources run side by side on the machines that are there now."""
        needs = {name: need for name, need in wanted(asked).items() if need}
        return sum(min(int(node.get(name, 0) / need) for name, need in needs.items()) for node in self.nodes())

    def check(self, asked: Resources, what: str) -> None:
        """Refuse what no machine could do; where machines may come, only warn.

        Args:
            asked: its resources.
            what: what it is called in messages.

        Raises:
            ConfigError: this is a cluster on one machine, and it lacks them.
        """
        if self.slots(asked):
            return
        most = {name: max((node.get(name, 0.0) for node in self.nodes()), default=0.0) for name in wanted(asked)}
        there = Resources(int(most["CPU"]), most["GPU"], int(most["memory"]))
        if self.address is None:
            raise ConfigError(f"{what} asks for {asked}, and this machine has {there}; ask for less")
        logger.warning("%s asks for %s; it waits until the cluster has a machine with that", what, asked)

    def answers(self, tasks: Collection[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield the next thing that each task has said which has said any, or `Lost`; waits a moment for the first.

        Args:
            tasks: generators of remote functions; the caller drops one that has said its last.
        """
        waiting = list(tasks)
        if not self.ray.wait(waiting, timeout=PATIENCE, fetch_local=False)[0]:
            return
        ready, _ = self.ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
        for task in ready:
            try:
                yield task, self.ray.get(next(task))
            except StopIteration:
                yield task, Lost("it ended without a word")
            except self.ray.exceptions.RayError as error:
                yield task, Lost(one_line(error))

    def cancel(self, tasks: Collection[Any]) -> None:
        """End tasks, and the processes that do them."""
        for task in tasks:
            self.ray.cancel(task, force=True)


def _reach(address: str) -> None:
    """Refuse an address at which nobody answers; Ray itself would go on trying for minutes.

    Raises:
        ConfigError: it is neither `auto` nor that of a machine with a port.
        RunError: nobody answers.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"`{address=}`: give HOST:PORT, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(f"nobody answers at {address} ({reason}); `address` is what `ray start` has shown") from None


def wanted(asked: Resources) -> dict[str, float]:
    """Return resources by Ray's names; a task has one core where nothing is said."""
    return {"CPU": asked.cpus or 1, "GPU": asked.gpus or 0, "memory": asked.memory or 0}


def options(asked: Resources) -> dict[str, Any]:
    """Return what Ray is told of a task or an actor with these resources, the number of its threads among it.

    It computes on as many threads as it has cores; where nothing is said on one, or on those of OMP_NUM_THREADS.
    """
    needs = wanted(asked)
    threads = str(asked.cpus or os.environ.get(THREADS[0]) or 1)
    return {
        "num_cpus": needs["CPU"],
        "num_gpus": needs["GPU"],
        "memory": needs["memory"] or None,
        "runtime_env": {"env_vars": dict.fromkeys(THREADS, threads)},
    }


def enter(folder: str, version: str) -> None:
    """Let a process of the cluster stand where the one stands that sends it work.

    Args:
        folder: the one from which relative paths count.
        version: of acclimate there.

    Raises:
        AcclimateError: another version is installed here, or there is no such folder.
    """
    if version != acclimate.__version__:
        raise AcclimateError(f"acclimate is {acclimate.__version__} here, and {version} where the command was given")
    try:
        os.chdir(folder)
    except OSError as error:
        raise AcclimateError(f"{folder}: {error.strerror}; start in a folder that all machines share") from None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Return the name of this machine, for messages."""
    return socket.gethostname()


def one_line(error: BaseException) -> str:
    """Return what an error of Ray says, on one line that fits a screen."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return brief(" ".join(lines), 240) or type(error).__name__

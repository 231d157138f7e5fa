"""Ray clusters of several machines on this one: each has processes of its own, and can be lost."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

from acclimate.scaling.cluster import QUIET, STORE
from tests.helpers.benches import children


@contextlib.contextmanager
def machines(cores: int = 1) -> Iterator[tuple[str, Any]]:
    """Give the address of a cluster with a head and a worker, each with so many cores, and the worker."""
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    told = {"num_cpus": cores, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**told, "include_dashboard": False})
    try:
        worker = cluster.add_node(**told)
        yield cluster.address, worker
    finally:
        cluster.shutdown()


def raylet(machine: Any) -> int:
    """The process of Ray itself on a machine, whose children do the work."""
    return machine.all_processes["raylet"][0].process.pid


def lose(machine: Any) -> None:
    """End all processes of a machine at once, as when its power fails."""
    for process in [raylet(machine), *children(raylet(machine))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

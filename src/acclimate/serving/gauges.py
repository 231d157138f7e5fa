"""What a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Gauges:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "acclimate"}
        self.requests = Counter("requests", "Requests that were answered.", ("path", "status"), **own)
        self.seconds = Histogram("request_seconds", "Time to an answer.", ("path",), buckets=LATENCIES, **own)
        self.refusals = Counter("refusals", "Requests and images without an answer.", ("reason",), **own)
        self.images = Counter("images", "Images that were answered.", ("run",), **own)
        self.waiting = Gauge("waiting_images", "Images that wait for an answer.", ("run",), **own)
        self.batches = Histogram("batch_images", "Images that ran together.", ("run",), buckets=SIZES, **own)
        self.batch_seconds = Histogram("batch_seconds", "Time of a batch.", ("run",), buckets=LATENCIES, **own)

    def text(self) -> bytes:
        """Return all of them in the text format, version 0.0.4."""
        return generate_latest(self.registry)

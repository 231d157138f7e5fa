"""A server under load: images a second beside `predict`, latencies at half of that, and every answer compared.

`predict` labels the images in a process of its own. Then a server of the same run answers clients of which each sends
its next request when it has the answer to the last one; that is the most it can do. Then requests come at random times
(Poisson) at half of that rate, whether or not others are still waiting, and the time to each answer is counted from the
moment it should have been sent. Some requests are hostile: text, damaged and huge images, wrong forms; each must get a
4xx with one line. Rows must have the labels of `predict`, and its probabilities to 1e-5.

The clients share the processors with the server. CPU seconds of the server are told beside the time, since others may
use the machine, too.

    python benchmarks/serve_load.py RUN IMAGES --out results/serve_load.json
    python benchmarks/serve_load.py RUN IMAGES --requests 200
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from measuring import write_record

BOUNDARY = "acclimate-benchmark"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
TOLERANCE = 1e-5  # of a probability: images that run together decide the last digits
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Request:
    """A request, and the rows that answer it; none of a hostile one."""

    body: bytes
    kind: str = FORM
    rows: tuple[dict[str, Any], ...] = ()


@dataclass
class Found:
    """What came of requests.

    Attributes:
        seconds: to each good answer.
        images: that were labelled.
        refused: hostile requests that were refused in a line, by status.
        wrong: what was said otherwise than expected.
        busy: good requests that were sent away.
    """

    seconds: list[float] = field(default_factory=list)
    images: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    busy: int = 0

    def note(self, request: Request, status: int, answer: bytes, seconds: float) -> None:
        """Compare an answer with what was expected."""
        told = json.loads(answer)
        if not request.rows:
            self.refused[status] = self.refused.get(status, 0) + 1
            if not 400 <= status < 500 or list(told) != ["error"] or "\n" in told["error"]:
                self.wrong.append(f"{status}: {told}")
        elif status == 503:
            self.busy += 1
        elif status != 200 or not all(map(same, told["predictions"], request.rows)):
            self.wrong.append(f"{status}: {told}")
        else:
            self.seconds.append(seconds)
            self.images += len(request.rows)


def same(row: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Return whether a row says what `predict` says."""
    shares, own = (np.array([*one["probabilities"].values()]) for one in (row, expected))
    return row["label"] == expected["label"] and bool(np.abs(shares - own).max() < TOLERANCE)


def form(files: list[tuple[str, bytes]]) -> bytes:
    """Return the body of a request with files."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content
        for name, content in files
    ]
    return b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def hostile(image: bytes) -> list[Request]:
    """Return requests that have no answer."""
    size = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    head = struct.pack(">I", len(size)) + b"IHDR" + size + struct.pack(">I", zlib.crc32(b"IHDR" + size))
    files = [b"some text", b"", image[: len(image) // 2], b"\x89PNG\r\n\x1a\n" + head]
    found = [Request(form([("a.png", content)])) for content in files]
    found.append(Request(form([("a.png", b"x")] * 1000)))
    found.append(Request(b"{}", "application/json"))
    found.append(Request(b"no form"))
    return found


def make_requests(files: list[Path], rows: list[dict[str, Any]], number: int, each: int, share: float) -> list[Request]:
    """Return requests with some images each, in a random order, of which a share is hostile."""
    dice, turn = random.Random(1), itertools.cycle(range(len(files)))
    contents = [path.read_bytes() for path in files]
    bad = itertools.cycle(hostile(contents[0]))
    found = []
    for _ in range(number):
        some = [next(turn) for _ in range(each)]
        body = form([(f"{place}.img", contents[place]) for place in some])
        good = Request(body, rows=tuple(rows[place] for place in some))
        found.append(next(bad) if dice.random() < share else good)
    return found


class Connection:
    """One connection to a server, opened again where it was closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> tuple[int, bytes]:
        """Return status and content of the answer to a request; a connection that was idle too long is opened again."""
        try:
            return await self._send(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            if self.streams is None:
                raise
            self.streams = None
            return await self._send(request)

    async def _send(self, request: Request) -> tuple[int, bytes]:
        reader, writer = self.streams or await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {request.kind}\r\n"
        writer.write(f"{head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body)
        told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        content = await reader.readexactly(int(told.partition("content-length: ")[2].partition("\r\n")[0]))
        self.streams = (reader, writer)
        if "connection: close" in told:
            writer.close()
            self.streams = None
        return int(told.split(" ", 2)[1]), content


async def one_after_another(port: int, requests: list[Request], clients: int) -> tuple[Found, float]:
    """Send requests from clients that wait for each answer; return what came of them, and the seconds."""
    found, left = Found(), iter(requests)

    async def client() -> None:
        connection = Connection(port)
        for request in left:
            started = time.perf_counter()
            found.note(request, *await connection.send(request), time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return found, time.perf_counter() - started


async def at_random(port: int, requests: list[Request], rate: float) -> tuple[Found, float]:
    """Send requests at random times, so many a second; return what came of them, and the seconds."""
    found, dice, idle = Found(), random.Random(2), [Connection(port)]

    async def send(request: Request, due: float) -> None:
        connection = idle.pop() if idle else Connection(port)
        answer = await connection.send(request)
        found.note(request, *answer, time.perf_counter() - due)
        idle.append(connection)

    due = started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for request in requests:
            due += dice.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(send(request, due))
    return found, time.perf_counter() - started


def cpu_seconds(process: int) -> float:
    """Return the CPU seconds of a process until now (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(process: int) -> float:
    """Return the most memory that a process has had, in MiB (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def server(run: Path) -> Iterator[tuple[int, int]]:
    """Serve a run; yield its port and the number of its process."""
    words = [sys.executable, "-m", "acclimate", "serve", str(run), "--port", "0", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split(" at ")[1]
            yield int(address.rpartition(":")[2].partition("/")[0]), process.pid
        finally:
            process.send_signal(signal.SIGTERM)


PREDICT = """
import json, sys, time
import acclimate
run, times, *files = sys.argv[1:]
model = acclimate.load(run)
rows = [model.task.plain(model.method, one) for one in model.predict(files[:64])]  # everything is warm then
started, cpu = time.perf_counter(), time.process_time()
for _ in range(int(times)):
    rows = [model.task.plain(model.method, one) for one in model.stream(files)]
print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "rows": rows}))
"""


def predict(run: Path, files: list[Path], times: int) -> dict[str, Any]:
    """Label images some times over in a process of its own; return its rows, seconds and CPU seconds."""
    words = [sys.executable, "-c", PREDICT, str(run), str(times), *map(str, files)]
    found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return found


def latencies(seconds: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    return {f"p{share}": 1000 * float(np.percentile(seconds, share)) for share in (50, 90, 99)}


def summary(found: Found, seconds: float, cpu: float) -> dict[str, Any]:
    """Return what is told of a part."""
    return {
        "requests": len(found.seconds) + sum(found.refused.values()) + found.busy + len(found.wrong),
        "images_per_second": found.images / seconds,
        "cpu_ms_per_image": 1000 * cpu / found.images,
        "latency_ms": latencies(found.seconds),
        "refused": found.refused,
        "sent_away": found.busy,
        "wrong": len(found.wrong),
    }


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all three, and return a row each."""
    files = sorted(path for path in options.images.rglob("*") if path.is_file())[: options.files]
    times = -(-options.requests * options.each // len(files))
    alone = predict(options.run, files, times)
    pace = times * len(files) / alone["seconds"]
    rows = [
        {"part": "predict", "images_per_second": pace, "cpu_ms_per_image": 1000 * alone["cpu"] / times / len(files)}
    ]
    requests = make_requests(files, alone["rows"], options.requests, options.each, options.hostile)
    with server(options.run) as (port, process):
        asyncio.run(one_after_another(port, requests[:20], 4))  # everything is warm then
        for part in ("full", "half"):
            before = cpu_seconds(process)
            if part == "full":
                found, seconds = asyncio.run(one_after_another(port, requests, options.clients))
                rate = options.requests / seconds / 2
            else:
                found, seconds = asyncio.run(at_random(port, requests, rate))
            rows.append({"part": part, **summary(found, seconds, cpu_seconds(process) - before)})
            for line in found.wrong[:5]:
                print("WRONG", line[:500])
        rows[-1]["peak_mib"] = peak_mib(process)
    rows[1]["of_predict"] = rows[1]["images_per_second"] / pace
    return rows


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--requests", type=int, default=10_000, help="in each of the two parts")
    parser.add_argument("--each", type=int, default=1, help="images in a request")
    parser.add_argument("--clients", type=int, default=32, help="that wait for each answer")
    parser.add_argument("--hostile", type=float, default=0.01, help="share of requests")
    parser.add_argument("--files", type=int, default=500, help="different images, at most")
    parser.add_argument("--out", type=Path, help="JSON record to write")
    options = parser.parse_args()
    rows = measure(options)
    for row in rows:
        print(json.dumps(row))
    if options.out:
        told = f"--requests {options.requests} --each {options.each} --clients {options.clients}"
        command = f"python benchmarks/serve_load.py RUN IMAGES {told} --hostile {options.hostile}"
        what = "images a second and latencies of `acclimate serve`, beside `predict`; every answer compared"
        write_record(options.out, command, what, rows)
    if any(row.get("wrong") for row in rows):
        raise SystemExit("some answers were wrong")


if __name__ == "__main__":
    main()

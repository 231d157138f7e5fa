"""A sweep on 1 to 64 workers: how long it takes with measured job times, beside the bound that no schedule can beat.

Jobs are drawn with replacement from the times that jobs of recorded benches have taken, and done in the order in which
they come, as launchers do it: whoever is free takes the next. No schedule takes less than max(total / workers,
longest job). `sorted` begins with the longest job, which nobody knows beforehand; it says what the order costs.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.bench.scores import read_scores
from measuring import write_record

WORKERS = (1, 2, 4, 8, 16, 32, 64)


def job_times(files: Iterable[Path]) -> list[float]:
    """Return the seconds that the jobs of benches have learned for, from their `results.csv`."""
    scores = [score for file in files for score in read_scores(file)]
    return [score.value for score in scores if score.metric == "seconds" and score.value is not None]


def makespan(times: Sequence[float], workers: int) -> float:
    """Return when the last job ends, if each worker takes the next as soon as it is free.

    >>> makespan([3, 1, 1, 1], 2), makespan([1, 1, 1, 3], 2)
    (3, 4)
    """
    free = [0.0] * workers
    for seconds in times:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def bound(times: Sequence[float], workers: int) -> float:
    """Return what no schedule can beat: the work shared out, or the longest job.

    >>> bound([3, 1, 1, 1], 2), bound([5, 1], 2)
    (3.0, 5)
    """
    return max(sum(times) / workers, *times)


def simulate(times: Sequence[float], jobs: int, each: float, draws: int, seed: int) -> list[dict[str, Any]]:
    """Return a row for each number of workers: medians over draws of jobs.

    Args:
        times: seconds of jobs that were measured.
        jobs: how many a sweep has.
        each: seconds that the launcher adds to each job.
        draws: how often a sweep is drawn.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    sweeps = [(random.choice(times, jobs) + each).tolist() for _ in range(draws)]
    rows = []
    for workers in WORKERS:
        ends = [makespan(one, workers) for one in sweeps]
        bounds = [bound(one, workers) for one in sweeps]
        inorder = [end / least for end, least in zip(ends, bounds, strict=True)]
        longest_first = [makespan(sorted(one, reverse=True), workers) for one in sweeps]
        rows.append(
            {
                "workers": workers,
                "hours": statistics.median(ends) / 3600,
                "bound_hours": statistics.median(bounds) / 3600,
                "of_bound": statistics.median(inorder),
                "worst_of_bound": max(inorder),
                "sorted_of_bound": statistics.median(
                    end / least for end, least in zip(longest_first, bounds, strict=True)
                ),
                "speedup": statistics.median(sum(one) / end for one, end in zip(sweeps, ends, strict=True)),
            }
        )
    return rows


def main() -> None:
    """Simulate, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="*", help="results.csv of benches, whose times are drawn from")
    parser.add_argument("--times", type=float, nargs="+", help="seconds of jobs, in place of recorded ones")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--each", type=float, default=0.0, help="seconds that the launcher adds to a job")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON record to write")
    options = parser.parse_args()
    times = options.times or job_times(options.results)
    if not times:
        parser.error("name a results.csv, or --times")
    rows = simulate(times, options.jobs, options.each, options.draws, options.seed)
    print("| workers | hours | bound | of the bound | worst draw | longest first | speed-up |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        shares = " | ".join(f"{row[name]:.3f}" for name in ("of_bound", "worst_of_bound", "sorted_of_bound"))
        hours = f"{row['hours']:.2f} | {row['bound_hours']:.2f}"
        print(f"| {row['workers']} | {hours} | {shares} | {row['speedup']:.1f} |")
    if options.out:
        files = " ".join(map(str, options.results)) if options.times is None else f"--times {len(times)} of your own"
        command = f"python benchmarks/sweep_simulation.py {files} --jobs {options.jobs} --each {options.each}"
        command += f" --draws {options.draws} --seed {options.seed}"
        told = {"jobs": len(times), "mean": statistics.mean(times), "median": statistics.median(times)}
        told["longest"] = max(times)
        what = "simulated sweeps of jobs whose times were measured, beside max(total / workers, longest job)"
        write_record(options.out, command, what, rows, measured_seconds=told)


if __name__ == "__main__":
    main()

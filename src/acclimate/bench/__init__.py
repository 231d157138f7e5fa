"""Bench: protocols x data x methods x shots x seeds as jobs that resume, and what their results say."""

from acclimate.bench.jobs import Job, plan
from acclimate.bench.launching import Launcher, Observer
from acclimate.bench.outlines import missing_data, outline
from acclimate.bench.pool import Pool
from acclimate.bench.results import check_choice, write_results
from acclimate.bench.running import Outcome, collect, plan_bench, run_bench
from acclimate.bench.spec import Spec, read_spec

__all__ = [
    "Job",
    "Launcher",
    "Observer",
    "Outcome",
    "Pool",
    "Spec",
    "check_choice",
    "collect",
    "missing_data",
    "outline",
    "plan",
    "plan_bench",
    "read_spec",
    "run_bench",
    "write_results",
]

"""The verb `bench`: many runs as jobs, a live table while they run, tables of results at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acclimate.cli import console, meanings, spreading
from acclimate.cli import options as opt
from acclimate.cli.retelling import command, given_words

FAILED = 1  # exit code where jobs failed; those that are done stay done


def bench(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="What to compare on what, by which protocols.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the bench; what is done there stays done.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that the spec's data paths start from; else that of the spec.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs side by side: 1 in local processes; on Ray as many as there is room for."),
    ] = None,
    launcher: spreading.LauncherOption = spreading.LauncherName.local,
    address: spreading.Address = None,
    retries: Annotated[
        int | None,
        typer.Option(min=0, help="How often a job that fails is tried again: 0 in local processes, 2 on Ray."),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of the tables shown; else the spec's.")] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Compare every method with this one, in pairs.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and run nothing.")] = False,
    device: opt.DeviceOption = opt.Device.auto,
    no_cache: opt.NoCache = False,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Compare methods: protocols x data x methods x shots x seeds as jobs that resume."""
    console.show_notes(quiet)
    spreading.check(launcher, address)
    from acclimate.bench import (
        Outcome,
        check_choice,
        collect,
        missing_data,
        plan_bench,
        read_spec,
        run_bench,
        write_results,
    )
    from acclimate.cli import results
    from acclimate.cli.live import LiveBench

    plugins = meanings.use_plugins(plugin)
    read = read_spec(spec, data_root)
    metric, reference = check_choice(read, metric, compare)
    out = out or Path("runs") / f"bench-{spec.stem}"
    if dry_run and (missing := missing_data(read)):
        results.show_outline(read, missing, as_json)
        return
    planned = plan_bench(read, device.value)
    if dry_run:
        results.show_plan(planned, out, as_json)
        return
    try:
        with (
            spreading.open_launcher(launcher, address, jobs, retries) as does,
            LiveBench(planned, out, does.slots(planned), quiet) as live,
        ):
            cache = meanings.feature_cache(no_cache)
            outcome = run_bench(read, planned, out, live, does, device.value, cache, plugins=plugins)
    except KeyboardInterrupt as stop:  # what is done may be looked at before the next start
        done = sum(job.is_done(out) for job in planned)
        stop.add_note(f"{done} of {len(planned)} jobs are done; the same command goes on from there")
        write_results(read, Outcome(planned, collect(planned, out)), out, metric, reference)
        raise
    results.show_outcome(read, outcome, metric, reference, as_json)
    results.show_failures(outcome, out)
    files = write_results(read, outcome, out, metric, reference)
    if not quiet:
        _show_next(context, spec, f"{', '.join(file.name for file in files[:3])} in {out}", reference)
    if outcome.failures:
        count = f"{len(outcome.failures)} of {len(planned)}"
        console.show_error(f"{count} jobs failed, the others are done; mend what is wrong and start again")
        raise typer.Exit(FAILED)


def _show_next(context: typer.Context, spec: Path, files: str, reference: str | None) -> None:
    """Say where the results are, and, where nothing was compared yet, which command does."""
    if reference is not None:
        console.tell(console.err, files, "note")
        return
    console.tell(console.err, f"{files}; which differences are more than noise says:", "note")
    words = given_words(context, without=("jobs", "no_cache", "as_json"))
    console.show_line(console.err, f"  {command('bench', spec, *words, '--compare', 'METHOD')}", "note")

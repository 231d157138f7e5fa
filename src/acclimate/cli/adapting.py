"""The verbs that learn and label: `demo`, `adapt`, `predict`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli import console, meanings, spreading, tables
from acclimate.cli import options as opt
from acclimate.cli.console import tell
from acclimate.cli.retelling import ABOUT_METHODS, ABOUT_RUN, command, given_words
from acclimate.cli.verdicts import show_next_steps, show_next_to_labels
from acclimate.counting import counted
from acclimate.options import parse_assignments

if TYPE_CHECKING:
    from acclimate.cli.progress import Progress
    from acclimate.runs import AdaptedModel


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the data, the runs and the predictions.")] = Path("runs/demo"),
    domain: Annotated[str, typer.Option(help="Embedded domain: satellite, sar, thin_section, ...")] = "thin_section",
    seed: Annotated[int, typer.Option(help="Seed of the images, the shots and the training.")] = 1,
    quiet: opt.Quiet = False,
) -> None:
    """Run the whole job offline: embedded backbone, embedded specialised domain, about two minutes."""
    console.show_notes(quiet)
    from acclimate.cli.demo import run_demo

    run_demo(out, domain, seed, quiet)


def adapt(
    context: typer.Context,
    data: opt.SeveralData,
    method: opt.MethodName = "auto",
    backbone: opt.Backbone = None,
    language_model: opt.LanguageModel = None,
    domain_encoder: opt.DomainEncoder = None,
    reference_prompts: opt.ReferencePrompts = None,
    start: opt.Start = None,
    look_at: opt.LookAt = None,
    scorer: opt.Scorer = None,
    shots: opt.Shots = "16",
    seed: opt.Seed = 1,
    set_: opt.Settings = None,
    time: opt.Time = None,
    out: opt.RunFolder = None,
    overwrite: opt.Overwrite = False,
    domain: opt.PromptDomain = None,
    template: opt.Template = None,
    templates: opt.Templates = None,
    names: opt.Names = None,
    layout: opt.Layout = "auto",
    images_root: opt.ImagesRoot = None,
    multi_label: opt.MultiLabel = False,
    bands: opt.Bands = None,
    split_seed: opt.SplitSeed = 0,
    split_rule: opt.SplitRuleOption = opt.SplitRule.stable,
    split_from: opt.SplitFrom = None,
    on_corrupt: opt.Corrupt = opt.OnCorrupt.error,
    device: opt.DeviceOption = opt.Device.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    track: opt.Track = None,
    no_cache: opt.NoCache = False,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Adapt a backbone to labelled images in DATA, or images with captions or questions, and measure the result.

    Several DATA are learned from together; each is measured on its own test images.
    """
    console.show_notes(quiet)
    from acclimate.backbones.kinds import JOIN
    from acclimate.cli.progress import Progress
    from acclimate.methods import get_method
    from acclimate.prompts import check_templates, read_names_file, read_templates
    from acclimate.runs import adapt as run
    from acclimate.runs.several import open_sets
    from acclimate.tasks import method_for, task_of

    meanings.use_plugins(plugin)
    assigned = [*_timed(time, method), *(set_ or ())]
    if language_model is not None:
        backbone = f"{backbone or 'mini-clip'}{JOIN}{language_model}"
    kind = get_method(method)
    how = meanings.reading(layout, images_root, split_seed, split_rule, split_from, on_corrupt, bands)
    sets = open_sets(data, **how, multi_label=multi_label)
    kind = method_for(sets[0], kind)
    method, backbone = kind.name, kind.default_backbone if backbone is None else backbone
    task, joined = task_of(sets[0], kind), "+".join(one.name for one in sets)
    own = check_templates(template, "`template`") if template else ()
    sentences = [*own, *(read_templates(templates) if templates else ())] or None
    given: dict[str, Any] = {"domain_encoder": domain_encoder, "reference_prompts": reference_prompts, "start": start}
    given |= {"look_at": look_at, "templates": sentences, "scorer": scorer}
    told: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    drawn, settings, cache = task.parse_shots(shots), parse_assignments(assigned), meanings.feature_cache(no_cache)
    out = out or _default_out(joined, method, backbone, str(drawn), seed, told, *assigned)
    classes = dict.fromkeys(name for one in sets for name in one.class_names)
    told["names"] = read_names_file(names, tuple(classes)) if names and task.has_classes else None
    told |= {"shots": drawn, "seed": seed, "domain": _domains(domain), "settings": settings, "out": out}
    told |= {"overwrite": overwrite, "track": None if track is None else track.value}
    with Progress(quiet) as progress:
        told |= {"device": device.value, "precision": precision.value, "cache_dir": cache, "progress": progress}
        model = run(sets, method, backbone, **told)
    tables.show_record(model.record, task, as_json)
    if not as_json:
        again = partial(_again, context, data, joined, backbone, out if "--out" in given_words(context) else None)
        show_next_steps(out, model.record, task, given_words(context, only=ABOUT_METHODS), again)


def _timed(time: str | None, method: str) -> list[str]:
    """Return the settings by which auto spends so much time on parts that descend gradients.

    Raises:
        ConfigError: it is no time, or another method is named.
    """
    from acclimate.errors import ConfigError

    if time is None:
        return []
    if method != "auto":
        raise ConfigError(f"--time {time} is for auto, and --method names {method}; leave out one of them")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", time.strip())
    if found is None:
        raise ConfigError(f"--time {time}: give a number and s, m or h, such as 10m")
    minutes = float(found[1]) * {"s": 1 / 60, "m": 1.0, "h": 60.0}[found[2]]
    return ["trained=suitable", f"minutes={minutes:g}"]


def _domains(given: str | None) -> str | dict[str, str] | None:
    """Return the domain that is given for all data sets, or those of some, as in aid=satellite,rx=xray."""
    from acclimate.errors import ConfigError

    if given is None or "=" not in given:
        return given
    pairs = [entry.partition("=") for entry in given.split(",")]
    if not all(name.strip() and equals and domain.strip() for name, equals, domain in pairs):
        raise ConfigError(f"`domain={given!r}`: give one domain, or NAME=DOMAIN of several DATA, with commas between")
    return {name.strip(): domain.strip() for name, _, domain in pairs}


def _again(
    context: typer.Context, data: list[Path], name: str, backbone: str, out: Path | None, method: str
) -> tuple[str, Path]:
    """Return the command that adapts by another method with its defaults, and the folder of its run."""
    from acclimate.methods import get_method

    own = {"backbone", "method", "set_", "time", "reference_prompts", "start", "look_at", "out"}
    own |= {"overwrite", "as_json", "quiet"}
    if not get_method(method).inputs.domain_encoder:
        own.add("domain_encoder")
    words, told = given_words(context, without=own), context.params
    encoder = told["domain_encoder"] if "domain_encoder" not in own else None
    named = {} if encoder is None else {"domain_encoder": encoder}
    place = out and out.with_name(f"{out.name}-{method}")
    place = place or _default_out(name, method, backbone, str(told["shots"]), told["seed"], named)
    on = () if backbone == get_method(method).default_backbone else ("--backbone", backbone)
    return command("adapt", *data, "--method", method, *on, *words, "--out", place), place


def predict(
    context: typer.Context,
    run: opt.RunPath,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Images, folders or quoted patterns.")],
    out: Annotated[
        Path | None, typer.Option(help="File for the rows: .csv, .jsonl or .parquet; on Ray, a folder.")
    ] = None,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    swap: opt.Swap = False,
    classes_of: opt.ClassesOf = None,
    coverage: opt.Coverage = None,
    known: opt.Known = 0.05,
    adapt_to_folder: opt.AdaptToFolder = False,
    hierarchy: opt.Hierarchy = None,
    floor: opt.Floor = 0.8,
    bands: opt.SavedBands = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass.")] = 32,
    device: opt.DeviceOption = opt.Device.auto,
    precision: opt.PredictionPrecision = opt.Precision.fp32,
    launcher: spreading.LauncherOption = spreading.LauncherName.local,
    address: spreading.Address = None,
    cpus: spreading.Cpus = None,
    gpus: spreading.Gpus = None,
    rows: spreading.Rows = None,
    plugin: opt.Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Label images; any number of them streams through."""
    console.show_notes(quiet)
    spreading.check(launcher, address, cpus=cpus, gpus=gpus, rows=rows)
    if launcher is spreading.LauncherName.ray:
        spreading.predict(context.params)
        return
    from acclimate.cli.progress import Progress
    from acclimate.runs import load

    meanings.use_plugins(plugin)
    model = load(run, backbone, device.value, None, domain_encoder, swap, classes_of, bands)
    rows_show = out is None and console.out.is_terminal  # a bar among them would be torn apart
    with Progress(quiet or rows_show) as progress:
        whole = {"adapt_to_folder": adapt_to_folder, "hierarchy": hierarchy, "floor": floor}
        how = {"batch_size": batch_size, "coverage": coverage, "known": known, "precision": precision.value, **whole}
        count, failed = _label(model, images, out, how, as_json, progress)
    if out:
        tell(console.err, f"{counted(count, 'row')} in {out}", "note")
        show_next_to_labels(run, given_words(context, only=ABOUT_RUN), quiet)
    console.refuse_unread(failed, count, "labelled")


def _label(
    model: AdaptedModel,
    sources: list[str],
    out: Path | None,
    how: dict[str, Any],
    as_json: bool,
    progress: Progress,
) -> tuple[int, list[str]]:
    """Send predictions to a file, JSON lines or lines of text; return how many, and what could not be read."""
    from acclimate.runs.prediction_files import open_writer

    method = model.method
    model.task.check_predicts(method)
    within = model.within(how["hierarchy"], how["floor"])
    task = model.task.predictor(method, how["coverage"], how["known"], within)
    writer = open_writer(out, task.columns(method)) if out else None
    count, failed = 0, list[str]()
    progress.start("images", None)
    try:
        for prediction in model.stream(sources, on_corrupt="skip", **how):
            count += 1
            if prediction.error:
                failed.append(prediction.error)
            if writer:
                writer.write(task.row(method, prediction))
            elif as_json:
                tables.print_json(task.plain(method, prediction), indent=None)
            else:
                tables.show_prediction(prediction, task)
            progress.advance(1)
        if writer:
            writer.close()
    except BaseException:
        if writer:
            writer.abandon()
        raise
    return count, failed


def _default_out(
    data: str, method: str, backbone: str, shots: str, seed: int, named: Mapping[str, object], *settings: str
) -> Path:
    """Return a folder named by what is run; a hash tells other encoders, files and settings apart."""
    from acclimate.methods import get_method

    name = f"{data}-{method}-{shots.replace(':', '')}shot-seed{seed}"
    told = [*sorted(settings), *(f"{name}={value}" for name, value in named.items())]
    if told or backbone != get_method(method).default_backbone:
        name += "-" + hashlib.sha256("\n".join([backbone, *told]).encode()).hexdigest()[:6]
    return Path("runs") / name

"""The verb `evaluate`: what a saved adapter is worth on other data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.console import tell
from acclimate.cli.retelling import ABOUT_RUN, command, given_words
from acclimate.cli.verdicts import show_commands, show_expectation


def evaluate(
    context: typer.Context,
    run: opt.RunPath,
    data: opt.DataPath,
    split: Annotated[
        str, typer.Option(help="test, val, train, all; auto: the images that the run has not seen.")
    ] = "auto",
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    swap: opt.Swap = False,
    scorer: opt.Scorer = None,
    rebind: Annotated[
        bool, typer.Option("--rebind", help="Tell apart the classes of DATA instead of the run's.")
    ] = False,
    classes_of: opt.ClassesOf = None,
    adapt_to_folder: opt.AdaptToFolder = False,
    hierarchy: opt.Hierarchy = None,
    floor: opt.Floor = 0.8,
    layout: opt.Layout = "auto",
    images_root: opt.ImagesRoot = None,
    bands: opt.SavedBands = None,
    split_seed: opt.SplitSeed = 0,
    split_rule: opt.SplitRuleOption = opt.SplitRule.stable,
    split_from: opt.SplitFrom = None,
    on_corrupt: opt.Corrupt = opt.OnCorrupt.error,
    device: opt.DeviceOption = opt.Device.auto,
    no_cache: opt.NoCache = False,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Measure a saved adapter on other data: labelled images, or images with captions or questions."""
    console.show_notes(quiet, without="split_made")
    from acclimate.cli.progress import Progress
    from acclimate.runs import evaluate_beside, load
    from acclimate.tasks import open_data, task_of

    meanings.use_plugins(plugin)
    model = load(run, backbone, device.value, meanings.feature_cache(no_cache), domain_encoder, swap, classes_of, bands)
    how = meanings.reading(layout, images_root, split_seed, split_rule, split_from, on_corrupt)
    images = model.shown(open_data(data, **how, allow_one_class=True, **model.task.options))
    task = task_of(images, type(model.method))
    if rebind and task.has_classes:
        model.rebind(images.class_names)
    with Progress(quiet) as progress:
        asked: dict[str, Any] = {"adapt_to_folder": adapt_to_folder, "hierarchy": hierarchy, "floor": floor}
        metrics = evaluate_beside(model, model.choose_images(images, split), progress, scorer, **asked)
    tables.show_metrics(metrics, model.method.name, task, f"{run} on {images.name}", as_json)
    if task.has_classes and not rebind and not as_json:
        show_expectation(model.record)
        console.out.print()
        tell(console.out, "Next, label new images:")
        extra = given_words(context, only=ABOUT_RUN)
        show_commands(command("predict", run, "NEW_IMAGES", "--out", "labels.csv", *extra))

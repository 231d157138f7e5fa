"""The verb `describe`: reference prompts from a language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acclimate.cli import console
from acclimate.cli import options as opt
from acclimate.cli.retelling import next_command
from acclimate.cli.verdicts import show_commands
from acclimate.counting import counted

if TYPE_CHECKING:
    from acclimate.describing import Description


LanguageModel = Annotated[
    str, typer.Option(metavar="URL|ID|DIR", help="OpenAI-compatible server (http://host:8000/v1), or a causal LM.")
]
Sentences = Annotated[
    Path | None, typer.Option(help="JSON file for the sentences, by default DATA-prompts.json; answers beside it.")
]
Questions = Annotated[
    Path | None, typer.Option(help="Text file, one question a line, {} for the class; by default the domain's.")
]


def describe(
    context: typer.Context,
    data: opt.DataPath,
    llm: LanguageModel,
    out: Sentences = None,
    model: Annotated[str | None, typer.Option(help="Model of the server; by default the only one it has.")] = None,
    generations: Annotated[int, typer.Option(min=1, help="Answers to each question.")] = 10,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the sampling; 0: the most probable words.")] = 0.99,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 50,
    questions: Questions = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer of a server.")] = 60.0,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Requests to a server at once.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the questions and what they cost.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Forget the answers that are there.")] = False,
    domain: Annotated[str | None, typer.Option(help="Domain of the questions; guessed and shown if not given.")] = None,
    names: opt.Names = None,
    layout: opt.Layout = "auto",
    images_root: opt.ImagesRoot = None,
    quiet: opt.Quiet = False,
) -> None:
    """Have a language model describe the classes in DATA; the sentences serve as --reference-prompts."""
    console.show_notes(quiet)
    from acclimate.cli.progress import Progress
    from acclimate.data import load_data
    from acclimate.describing import Description, Sampling, open_writer
    from acclimate.prompts import read_names_file
    from acclimate.prompts.questions import list_questions, read_questions
    from acclimate.tasks import choose_prompts

    images = load_data(data, layout=layout, images_root=images_root)
    words = read_names_file(names, images.class_names) if names else None
    prompts = choose_prompts(images, domain, words)
    writer = open_writer(llm, model, timeout, parallel)
    out = out or Path(f"{images.name}-prompts.json")
    description = Description(
        images.class_names,
        prompts,
        out,
        writer.model,
        questions=read_questions(questions) if questions else list_questions(prompts.domain),
        generations=generations,
        sampling=Sampling(temperature, max_tokens),
        overwrite=overwrite,
    )
    _say_what_it_costs(description, writer.model)
    if dry_run:
        for request in description.requests[::generations]:
            console.show_line(console.out, request.question)
        return
    try:
        with Progress(quiet) as progress:
            sentences = description.write(writer, progress)
    except KeyboardInterrupt as stop:
        kept = len(description.requests) - len(description.missing)
        stop.add_note(f"{kept} of {len(description.requests)} answers are kept; the same command asks for the others")
        raise
    _show(sentences, out)
    show_commands(next_command(context, "adapt", data, "--method", "aape", "--reference-prompts", out, same_data=True))


def _say_what_it_costs(description: Description, model: str) -> None:
    """Say how many answers are asked for, and how many tokens that takes."""
    asked, missing, (sent, received) = len(description.requests), len(description.missing), description.tokens
    classes = counted(len(description.class_names), "class", "classes")
    kept = f", {asked - missing:,} of them kept from before" if asked > missing else ""
    console.tell(
        console.err,
        f"{model}: {asked:,} answers about {classes}{kept}; to ask: {missing:,}, about {sent:,} tokens sent and at "
        f"most {received:,} back",
        "note",
    )


def _show(sentences: dict[str, list[str]], out: Path) -> None:
    """Show what was written."""
    counts = [len(some) for some in sentences.values()]
    told = f"{sum(counts):,} different sentences, {min(counts)} to {max(counts)} a class, in {out}. Next:"
    console.tell(console.out, told)

"""The verbs `push` and `pull`: runs on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.console import out as shown
from acclimate.cli.console import show_line, tell
from acclimate.cli.retelling import command
from acclimate.cli.verdicts import show_commands
from acclimate.counting import counted

if TYPE_CHECKING:
    from acclimate.sharing import Contents

Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Model repository of the Hugging Face Hub.")]


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `acclimate adapt`.")],
    name: Repository,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and the card; needs no network and no token.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch to send to, made where it is not there.")
    ] = None,
    with_encoders: Annotated[
        bool,
        typer.Option(
            "--with-encoders", help="Send encoders that are folders of this machine, too.", rich_help_panel=opt.MODEL
        ),
    ] = False,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Send a run to the Hugging Face Hub, with a card made of its record and without what is private."""
    console.show_notes(quiet)
    _show_bars(quiet)
    meanings.use_plugins(plugin)
    from acclimate.sharing import gather
    from acclimate.sharing import push as send
    from acclimate.sharing.pushing import check_name

    how: dict[str, Any] = {"with_encoders": with_encoders, "backbone": backbone, "domain_encoder": domain_encoder}
    if dry_run:
        check_name(name)
        contents = gather(run, name, **how)
        if as_json:
            tables.print_json({"name": name, "files": contents.sizes, "stays": contents.stays, "card": contents.card})
            return
        _show_contents(contents, f"Would be sent to {name}:")
        for line in ("", *contents.card.splitlines()):
            show_line(shown, line)
        return
    done = send(run, name, private=private, revision=revision, **how)
    if as_json:
        told = {"name": name, "revision": revision, "url": done.url, "commit": done.commit}
        tables.print_json(told | {"files": done.contents.sizes, "stays": done.contents.stays})
        return
    _show_contents(done.contents, f"Sent to {done.url}:")
    tell(shown, "Next, on any machine:")
    remote = f"hf:{name}" + (f"@{revision}" if revision else "")
    show_commands(command("predict", remote, "NEW_IMAGES"), command("pull", name, *_branch(revision)))


def _show_bars(quiet: bool) -> None:
    """Let the Hub's client draw its bars where somebody sees them."""
    from huggingface_hub.utils import disable_progress_bars

    if quiet or not console.err.is_terminal:
        disable_progress_bars()


def _branch(revision: str | None) -> tuple[str, ...]:
    return () if revision is None else ("--revision", revision)


def _show_contents(contents: Contents, head: str) -> None:
    tell(shown, head)
    for name, size in contents.sizes.items():
        show_line(shown, f"  {size:>12,}  {name}")
    if contents.stays:
        tell(shown, f"Stays here: {', '.join(contents.stays)}.", "note")
    for one in contents.encoders:
        if not one.public and not one.sent:
            option = one.option.replace("_", "-")
            tell(
                shown,
                f"The {one.words} '{one.name}' is a folder of this machine and does not go with it: whoever loads the "
                f"run names it by --{option}, or you send it by --with-encoders.",
                "note",
            )


def pull(
    name: Repository,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to make; by default runs/NAME.", rich_help_panel=opt.OUTPUT),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit; by default the main branch.")
    ] = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Download a run from the Hugging Face Hub: safetensors, JSON and text, and nothing else."""
    console.show_notes(quiet)
    _show_bars(quiet)
    from acclimate.sharing import pull as fetch

    folder = fetch(name.removeprefix("hf:"), out, revision=revision)
    files = {file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    if as_json:
        tables.print_json({"folder": str(folder), "files": dict(sorted(files.items()))})
        return
    tell(shown, f"{folder}: {counted(len(files), 'file')}, {sum(files.values()) / 1e6:.1f} MB. Next:")
    show_commands(command("predict", folder, "NEW_IMAGES"))

"""The application: its verbs, and what happens to errors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer

import acclimate
from acclimate.cli import (
    INTERRUPTED,
    UNREAD,
    adapting,
    asking,
    benching,
    classifying,
    console,
    describing,
    embedding,
    evaluating,
    exporting,
    informing,
    looking,
    making,
    pretraining,
    reporting,
    saliency,
    serving,
    sharing,
    suggesting,
)
from acclimate.cli.helping import Verb, Verbs
from acclimate.errors import AcclimateError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PLACE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
USAGE: type[Exception] = typer.BadParameter.__mro__[1]  # all errors of the parser, wherever typer keeps its click


class Interrupted(Exception):
    """Ctrl-C while a verb ran; typer would turn it into an exit code, and what it says would be lost."""

    def __init__(self, cause: KeyboardInterrupt) -> None:
        super().__init__()
        self.cause = cause


class Program(Verbs):
    """The program, which hands an interrupt on as it is, and knows verbs of two words beside those of one."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the words before the verb, and the verb."""
        two = " ".join(args[:2])
        return super().parse_args(ctx, [two, *args[2:]] if two in self.commands else args)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted(stop) from stop


app = typer.Typer(
    cls=Program,
    name="acclimate",
    help="Adapt vision-language models to specialised domains from a few labelled images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Verb)(adapting.demo)
app.command(cls=Verb)(adapting.adapt)
app.command(cls=Verb)(evaluating.evaluate)
app.command(cls=Verb)(adapting.predict)
app.command(cls=Verb)(reporting.report)
app.command(cls=Verb)(saliency.look)
app.command(cls=Verb)(suggesting.suggest)
app.command(cls=Verb)(asking.ask)
app.command(cls=Verb)(serving.serve)
app.command(cls=Verb)(benching.bench)
app.command(cls=Verb)(describing.describe)
app.command(cls=Verb)(exporting.export)
app.command(cls=Verb)(embedding.embed)
app.command(cls=Verb)(sharing.push)
app.command(cls=Verb)(sharing.pull)
data_app = typer.Typer(
    cls=Verbs, help="Look at data before training on them, or make some to try things on.", no_args_is_help=True
)
data_app.command(cls=Verb)(looking.check)
data_app.command(cls=Verb)(making.make)
app.add_typer(data_app, name="data")
pretrain_app = typer.Typer(
    cls=Verbs, help="Make domain encoders from images, with or without labels.", no_args_is_help=True
)
pretrain_app.command(cls=Verb)(pretraining.mae)
pretrain_app.command(cls=Verb)(classifying.classifier)
app.add_typer(pretrain_app, name="pretrain")
app.command(cls=Verb)(looking.methods)
app.command(cls=Verb)(looking.backbones)
app.command("backbones convert", cls=Verb)(making.convert)
app.command(cls=Verb)(informing.info)
app.command(cls=Verb)(informing.cache)


def _version(value: bool) -> None:
    if value:
        console.out.print(f"acclimate {acclimate.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def commands(command: Any = None, words: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the program and, below it, every group and every command, each with its words, such as "data check"."""
    command = command or typer.main.get_command(app)
    yield words, command
    for word, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{words} {word}".strip())


def main() -> None:
    """Run the command line; errors that the user can mend end in one line and exit code 2.

    Raises:
        KeyboardInterrupt: so it was; its notes say what the same command does next time.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that an encoding does not have is no reason to end
        if hasattr(stream, "reconfigure") and not console.is_unicode(stream):
            stream.reconfigure(errors="backslashreplace")
    if console.follower():  # results are told by the first process
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        _run()
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # what is still in them would fail again at the end
            os.dup2(nowhere, stream.fileno())
        sys.exit(UNREAD)


def _run() -> None:
    """Run the command line, and say in one line what is wrong."""
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()  # a reader that has gone is noticed here, and not by the interpreter at its end
    except Interrupted as stop:
        raise stop.cause from None
    except USAGE as error:
        _refuse(error)
    except AcclimateError as error:
        console.show_error(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno not in NO_ROOM | NO_PLACE:
            raise
        advice = "free some space" if error.errno in NO_ROOM else "name another place"
        console.show_error(f"cannot read or write {error.filename or 'a file'}: {error.strerror}; {advice}")
        sys.exit(2)
    if code == INTERRUPTED:  # while the words of the command were read
        raise KeyboardInterrupt
    sys.exit(code)


def _refuse(error: Any) -> NoReturn:
    """Say in one line what is wrong with the words of the command."""
    if type(error).__name__ != "NoArgsIsHelpError":  # then the help is printed already
        command = error.ctx.command_path if error.ctx else "acclimate"
        console.show_error(f"{error.format_message().rstrip('.')}; see `{command} --help`")
    sys.exit(2)

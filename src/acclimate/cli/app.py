"""The application: its verbs, and what happens to errors."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

import acclimate
from acclimate.cli import adapting, console, looking
from acclimate.errors import AcclimateError

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}

app = typer.Typer(
    name="acclimate",
    help="Adapt vision-language models to specialised domains from a few labelled images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(adapting.demo)
app.command()(adapting.adapt)
app.command()(adapting.evaluate)
app.command()(adapting.predict)
data_app = typer.Typer(help="Look at data before training on them.", no_args_is_help=True)
data_app.command()(looking.check)
app.add_typer(data_app, name="data")
app.command()(looking.methods)
app.command()(looking.backbones)


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


def main() -> None:
    """Run the command line; errors that the user can mend end in one line and exit code 2."""
    try:
        app()
    except AcclimateError as error:
        console.show_error(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno not in DISK:
            raise
        place = f" {error.filename}" if error.filename else ""
        console.show_error(f"cannot write{place}: {error.strerror}; free some space or choose another folder")
        sys.exit(2)
    except KeyboardInterrupt:
        console.show_error("interrupted; the same command goes on from the last checkpoint")
        sys.exit(130)

"""The commands, gathered; a module is imported only for a command that is wanted, since some take a while."""

import importlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from babelclip import __version__
from babelclip.cli import output

COMMANDS = {
    "index": "index",
    "tag": "index",
    "search": "search",
    "similar": "search",
    "duplicates": "explore",
    "cluster": "explore",
    "map": "explore",
    "classify": "classify",
    "embed": "embed",
    "pull": "models",
    "models": "models",
    "export": "models",
    "quantize": "quantize",
    "doctor": "models",
    "evaluate": "evaluate",
    "distill": "train",
    "align": "train",
    "serve": "serve",
    "usage": "keys",
}
"""Command, which is the name of a function -> the module of cli/ that has it; in the order of the help."""
GROUPS = {"keys": "keys", "benchmark": "benchmark", "scale": "scale"}
"""Command with commands of its own -> the module whose APP it is."""


def assemble(names: Iterable[str] = (*COMMANDS, *GROUPS)) -> typer.Typer:
    """The command line.

    :param names: the commands that it shall have
    :return: the application
    """
    app = typer.Typer(
        name="babelclip",
        help="Search pictures in your own language, and embed texts and images in one space.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in names:
        if name in COMMANDS:
            app.command()(getattr(importlib.import_module(f"babelclip.cli.{COMMANDS[name]}"), name))
        else:
            app.add_typer(importlib.import_module(f"babelclip.cli.{GROUPS[name]}").APP, name=name)
    return app


def wanted(arguments: Sequence[str]) -> Iterable[str]:
    """The commands that a command line can lead to.

    :param arguments: what stands behind the program's name
    :return: the one that is named; all where none is known, for the help and for the hint at what was meant
    """
    first = arguments[0] if arguments else ""
    if first == "--version":
        return ()
    return (first,) if first in COMMANDS or first in GROUPS else (*COMMANDS, *GROUPS)


def _show_version(asked: bool) -> None:
    if asked:
        output.line(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search pictures in your own language, and embed texts and images in one space."""


def __getattr__(name: str) -> Any:
    """APP is the whole command line."""
    if name == "APP":
        return assemble()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

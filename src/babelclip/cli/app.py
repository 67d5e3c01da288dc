"""The commands, gathered."""

from typing import Annotated

import typer

from babelclip import __version__
from babelclip.cli import benchmark, classify, collection, embed, evaluate, models, output, quantize, serve, train

APP = typer.Typer(
    name="babelclip",
    help="Search pictures in your own language, and embed texts and images in one space.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(asked: bool) -> None:
    if asked:
        output.line(__version__)
        raise typer.Exit


@APP.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search pictures in your own language, and embed texts and images in one space."""


for command in (
    collection.index,
    collection.search,
    collection.similar,
    classify.classify,
    embed.embed,
    models.pull,
    models.models,
    models.export,
    quantize.quantize,
    models.doctor,
    evaluate.evaluate,
    train.distill,
    train.align,
    serve.serve,
):
    APP.command()(command)
APP.add_typer(benchmark.APP, name="benchmark")

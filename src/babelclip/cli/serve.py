"""babelclip serve: the service."""

import ctypes
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from babelclip.cli import output
from babelclip.cli.options import Precision, Runtime, load
from babelclip.models.registry import DEFAULT
from babelclip.settings import service_settings, settings

MALLOC_OPTIONS = {-3: 2**17, -8: 1}
"""Of glibc's mallopt: M_MMAP_THRESHOLD, since left alone it learns from one decoded picture to keep the room of all, 30
MiB with mini; and M_ARENA_MAX, since otherwise threads have free room each, 18 MiB.
"""


def serve(
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Name or folder of a model. Repeatable. [default: mini]")
    ] = None,
    index: Annotated[
        list[str] | None, typer.Option("--index", "-i", help="Index to search, as NAME=FILE. Repeatable.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every address of the machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    runtime: Runtime = None,
    precision: Precision = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not log every request.")] = False,
) -> None:
    """Serve embeddings, classification and search over HTTP. The first start creates and prints an admin key."""
    from babelclip.service.app import create_app
    from babelclip.service.http.server import Server
    from babelclip.service.metering.keys import SCOPES
    from babelclip.service.state import Service

    _give_large_memory_back()
    chosen = service_settings()
    names = list(dict.fromkeys(model or [DEFAULT]))
    indexes = dict(_named_file(text) for text in index or [])
    service = Service({name: load(name, runtime, precision) for name in names}, chosen, indexes=indexes)
    own = settings().index
    if not indexes and own.is_file():
        output.message(f"no index is mounted; this one of yours can be: --index photos={own}")
    if not service.keys.any():
        _, secret = service.keys.create("admin", SCOPES)
        output.message(f"An admin key was made. It is shown this once:\n\n    {secret}\n")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("babelclip.service").setLevel(logging.WARNING if quiet else logging.INFO)
    server = Server(
        create_app(service),
        names=", ".join(names),
        host=host,
        port=port,
        connections=chosen.max_connections,
        say=output.message,
    )
    # The server raises the signal again when it has ended in order; that is no interruption, and no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server.run()
    if not server.started:
        raise typer.Exit(1)
    output.message("ended at once" if server.force_exit else "ended")


def _give_large_memory_back() -> None:
    """Let the system have what is large as soon as it is free, where the C library is one that can be told so."""
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            for option, value in MALLOC_OPTIONS.items():
                set_option(option, value)


def _named_file(text: str) -> tuple[str, Path]:
    """NAME=FILE; a file alone has its own name."""
    name, equals, file = text.partition("=")
    return (name, Path(file)) if equals and name and file else (Path(text).stem, Path(text))

"""babelclip embed: vectors of texts or images, into a file."""

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from babelclip.cli import output
from babelclip.cli.options import ModelName, Precision, Runtime, load
from babelclip.errors import ImageError, InputError
from babelclip.extras import importing
from babelclip.media.crawl import photos_below
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from babelclip.vectors import FloatArray

FORMATS = (".npy", ".jsonl", ".parquet")


def embed(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts.", show_default=False)] = None,
    texts_from: Annotated[
        str | None, typer.Option("--texts-from", help="Texts from a file, one a line; - is stdin.")
    ] = None,
    images: Annotated[list[Path] | None, typer.Option("--images", help="Photos or folders of photos.")] = None,
    output_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .npy, .jsonl or .parquet file. [default: JSON lines on stdout]"),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Do not normalize the vectors.")] = False,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
) -> None:
    """Embed texts or images: float32 vectors to a file, or as JSON lines.

    Images that cannot be read are named on stderr and left out; then the exit code is 1 and the rest is written. A
    .npy file holds the vectors alone, in order, so the names of its rows are written beside it (.txt).
    """
    if sum(bool(given) for given in (texts, texts_from, images)) != 1:
        raise typer.BadParameter("give texts, --texts-from or --images, one of them")
    if output_file is not None and output_file.suffix not in FORMATS:
        raise typer.BadParameter(f"{output_file}: the file must end in {', '.join(FORMATS)}")
    loaded = load(model, runtime, precision)
    failed = 0
    if images:
        names, vectors, failed = _embed_images(loaded, images, unit=not raw)
    else:
        names = texts or _read_texts(str(texts_from))
        with output.progress("embedding texts", len(names)) as bar:
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                done += count
                bar(done)

            vectors = loaded.encode_text(names, unit=not raw, progress=advance)
    _write(output_file, "image" if images else "text", names, vectors)
    if failed:
        raise typer.Exit(1)


def _read_texts(source: str) -> list[str]:
    """Lines of a file or of stdin; blank ones count, so that row i is line i."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source} cannot be read: {error}") from None
    lines = text.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if not lines:
        raise InputError(f"{source} holds no text")
    return [line.removesuffix("\r") for line in lines]


def _embed_images(model: Model, paths: list[Path], *, unit: bool) -> tuple[list[str], FloatArray, int]:
    """Names and vectors of the photos that can be read, and how many cannot."""
    unreadable: list[OSError] = []
    files = [file for path in paths for file in photos_below(path.expanduser(), unreadable.append)]
    for error in unreadable:
        output.message(f"{error.filename}: {error.strerror}")
    vectors: dict[Path, FloatArray] = {}
    with output.progress("embedding images", len(files)) as bar:
        for done, (file, vector) in enumerate(model.stream_images(zip(files, files, strict=True), unit=unit), 1):
            if isinstance(vector, ImageError):
                output.message(str(vector))
            else:
                vectors[file] = vector
            bar(done)
    encoded = [file for file in files if file in vectors]
    rows = [vectors[file] for file in encoded] or np.empty((0, model.dimension), dtype=np.float32)
    return [str(file) for file in encoded], np.array(rows), len(files) - len(encoded) + len(unreadable)


def _write(path: Path | None, kind: str, names: list[str], vectors: FloatArray) -> None:
    """Write vectors in the form that the file's ending names."""
    if path is None:
        for name, vector in zip(names, vectors, strict=True):
            output.json_line({kind: name, "vector": [float(value) for value in vector]})
        return
    if path.suffix == ".npy":
        np.save(path, vectors)
        path.with_suffix(".txt").write_text("".join(_one_line(name) + "\n" for name in names), encoding="utf-8")
    elif path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for name, vector in zip(names, vectors, strict=True):
                row = {kind: name, "vector": [float(value) for value in vector]}
                file.write(json_format.dumps(row, ensure_ascii=False) + "\n")
    else:
        _write_parquet(path, kind, names, vectors)
    output.message(f"{len(names)} vectors of {vectors.shape[1]} dimensions: {path}")


def _one_line(name: str) -> str:
    """A name without line breaks and without bytes that are not UTF-8."""
    return name.replace("\n", " ").encode("utf-8", "backslashreplace").decode("utf-8")


def _write_parquet(path: Path, kind: str, names: list[str], vectors: FloatArray) -> None:
    """Two columns: the text or path, and a fixed-size list of float32."""
    with importing("parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    pq.write_table(pa.table({kind: pa.array([_one_line(name) for name in names]), "vector": column}), path)

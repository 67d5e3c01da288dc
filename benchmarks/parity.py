"""Parity on seeded random weights in every published form: ``python -m benchmarks.parity``.

The models are built and saved by sentence-transformers and transformers, and compared as ``babelclip benchmark parity``
compares a model of the user.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from babelclip.benchmark.parity import (
    COLUMNS,
    MAX_DIFFERENCE,
    MIN_COSINE,
    ParityRow,
    check_images,
    check_text,
    sample_images,
)
from babelclip.benchmark.samples import ALL
from babelclip.cli import output
from babelclip.cli.options import AsJson, words
from babelclip.media.crawl import photos_below
from tests.helpers import reference_models


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the reference models."""

    text: reference_models.Size
    vocabulary: int
    vision: reference_models.Size
    clip_text: reference_models.Size


SMALL = Sizes(reference_models.SMALL, 0, reference_models.SMALL, reference_models.SMALL)
PUBLISHED = Sizes(reference_models.DISTILBERT, 119547, reference_models.CLIP_VISION, reference_models.CLIP_TEXT)


def run_parity(
    sizes: Sizes,
    runtimes: Sequence[str],
    *,
    photos: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda label: None,
) -> list[ParityRow]:
    """Build reference folders in every published form, and compare their vectors.

    :param sizes: the sizes of the models
    :param runtimes: the runtimes to compare
    :param photos: files of photos to encode in addition to synthetic images
    :param progress: receives a label for each comparison
    :return: a row per folder and runtime
    """
    images = sample_images(photos)
    with tempfile.TemporaryDirectory(prefix="babelclip-parity-") as scratch:
        root = Path(scratch)
        rows = _check_text_folders(root, sizes, runtimes, progress)
        clip, older, vision = root / "clip", root / "clip-ViT-B-32", root / "vision"
        reference_models.save_clip_model(clip, ALL, vision=sizes.vision, text=sizes.clip_text)
        reference_models.save_as_clip_vit_b_32(clip, older)
        reference_models.save_vision_only(clip, vision)
        vectors = reference_models.image_vectors(clip, images)
        for case, folder in (
            ("CLIP image, transformers CLIPModel", clip),
            ("CLIP image, 0_CLIPModel with pytorch_model.bin", older),
            ("CLIP image, CLIPVisionModelWithProjection", vision),
        ):
            rows += check_images(case, folder, images, vectors, runtimes, progress)
        english = reference_models.clip_text_vectors(clip, ALL)
        rows += check_text("CLIP text (the teacher)", clip, english, runtimes, progress)
        rows += check_text("CLIP text, vocab.json and merges.txt", older, english, runtimes, progress)
    return rows


def _check_text_folders(
    root: Path, sizes: Sizes, runtimes: Sequence[str], progress: Callable[[str], None]
) -> list[ParityRow]:
    """Compare each family as sentence-transformers saves it now, and DistilBERT as published in 2021."""
    families: tuple[tuple[reference_models.TextFamily, bool], ...] = (
        ("distilbert", False),
        ("bert", True),
        ("xlm-roberta", True),
    )
    rows = []
    for family, normalize in families:
        folder = root / family
        reference_models.save_text_model(
            folder, ALL, family=family, size=sizes.text, vocabulary=sizes.vocabulary, normalize=normalize
        )
        expected = reference_models.text_vectors(folder, ALL)
        rows += check_text(f"{family}, sentence-transformers 6 form", folder, expected, runtimes, progress)
        if family == "distilbert":
            reference_models.rewrite_as_published(folder)
            case = "distilbert, published form with pytorch_model.bin"
            rows += check_text(case, folder, expected, runtimes, progress)
    return rows


def as_markdown(rows: Sequence[ParityRow], *, source: str) -> str:
    """The table as a page.

    :param rows: what was measured
    :param source: how it was made
    :return: Markdown
    """
    lines = [
        "# Parity with the reference implementation",
        "",
        source,
        "",
        f"Bounds: cosine >= {MIN_COSINE} for every row, largest difference of unit rows <= {MAX_DIFFERENCE:g}.",
        "",
        "| folder | runtime | rows | worst cosine | largest difference | holds |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.case} | {row.runtime} | {row.rows} | {row.min_cosine:.8f} | {row.max_difference:.1e} | "
        f"{'yes' if row.holds else 'NO'} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main(
    small: Annotated[bool, typer.Option("--small", help="Tiny models, in seconds, instead of the real sizes.")] = False,
    runtimes: Annotated[str, typer.Option(help="Separated by commas.")] = "openvino,onnxruntime,torch",
    photos: Annotated[Path | None, typer.Option(help="A folder of photos to encode in addition.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    json: AsJson = False,
) -> None:
    """Compare with sentence-transformers and transformers on seeded random weights in the published layouts."""
    files = list(photos_below(photos, lambda error: None)) if photos else []
    with output.progress("building") as bar:
        rows = run_parity(
            SMALL if small else PUBLISHED,
            words(runtimes),
            photos=files,
            progress=lambda label: bar(0, None, label),
        )
    if json:
        for row in rows:
            output.json_line({**asdict(row), "holds": row.holds})
    else:
        output.table(COLUMNS, [row.cells() for row in rows])
    if markdown is not None:
        size = "tiny" if small else "the published sizes"
        source = (
            f"Seeded random weights at {size}, built and saved by sentence-transformers and transformers themselves, "
            f"loaded by babelclip in float32. Texts: 42 scripts, oddities, 1 to 128 words. Images: every mode"
            f"{f', and {len(files)} photos' if files else ''}. Written by `python -m benchmarks.parity --markdown`."
        )
        markdown.write_text(as_markdown(rows, source=source), encoding="utf-8")
    if not all(row.holds for row in rows):
        output.message("error: a row is outside the bounds")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

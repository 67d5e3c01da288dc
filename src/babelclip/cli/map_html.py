"""The page of a map: points, names of regions, and thumbnails on sheets, in one HTML file that needs nothing else."""

import base64
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from babelclip.cli.html import small
from babelclip.media.thumbnails import as_jpeg
from babelclip.pipeline import chunks, ordered_map

THUMBNAIL_PIXELS = 72
SHEET_SIDE = 16
"""Thumbnails in a row of a sheet, and rows of it."""
JPEG_QUALITY = 70
EXTENT = np.array([10_000, 6_500])
"""Places are whole numbers up to this, across and down: about the shape of a screen."""
READ_AHEAD = 16
FINEST_GRID = 512


@dataclass(frozen=True, slots=True)
class Spot:
    """A photo on the map: its path, its place, and the number of its region."""

    path: str
    x: float
    y: float
    region: int


def write_map(
    page: Path,
    spots: Sequence[Spot],
    names: Sequence[str],
    thumbnails: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a map.

    :param page: the file to write; its folder is made if need be
    :param spots: the photos
    :param names: of the regions
    :param thumbnails: how many photos get a thumbnail inside the page; they are spread over the map
    :param progress: is told how many thumbnails of how many are made
    :return: how many thumbnails are in it; photos that cannot be read have none
    """
    places = _fit(np.array([(spot.x, spot.y) for spot in spots], dtype=np.float64).reshape(-1, 2))
    chosen = spread(places)[:thumbnails]
    sheets, cells = _sheets([spots[i].path for i in chosen], progress)
    folder = _common_folder([spot.path for spot in spots])
    content: dict[str, Any] = {
        "folder": folder,
        "paths": [spot.path[len(folder) :] for spot in spots],
        "extent": EXTENT.tolist(),
        "places": places.ravel().tolist(),
        "regions": [spot.region for spot in spots],
        "names": list(names),
        "cell": THUMBNAIL_PIXELS,
        "side": SHEET_SIDE,
        "sheets": sheets,
        # In the order in which they claim room on the screen: photo, width, height; cell by cell of the sheets.
        "thumbnails": [[int(i), *size] for i, size in zip(chosen, cells, strict=True)],
    }
    template = resources.files("babelclip.cli").joinpath("map.html").read_text(encoding="utf-8")
    # Escaped to ASCII, so that names of any bytes stay valid; "</script>" in a path must not end the script.
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(template.replace('"DATA"', data), encoding="utf-8")
    return sum(1 for width, _ in cells if width)


def spread(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """An order in which any first part of the points is spread over the plane: one of each square, squares halving.

    :param places: int64 (n, 2), up to EXTENT
    :return: int64 (n,) positions
    """
    order: list[int] = []
    taken = np.zeros(len(places), dtype=bool)
    grid = 4
    while grid <= FINEST_GRID and not taken.all():
        squares = (places * grid // (EXTENT + 1)) @ np.array([grid, 1])
        filled = np.unique(squares[taken])
        free = np.flatnonzero(~taken)
        free = free[~np.isin(squares[free], filled)]
        new = free[np.unique(squares[free], return_index=True)[1]]
        order += new.tolist()
        taken[new] = True
        grid *= 2
    return np.array([*order, *np.flatnonzero(~taken).tolist()], dtype=np.int64)


def _fit(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places as whole numbers that fill the map; the axes of UMAP have no unit, so each is stretched by itself."""
    low, high = places.min(axis=0), places.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    fitted: NDArray[np.int64] = np.rint((places - low) / span * EXTENT).astype(np.int64)
    return fitted


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are below, with the separator at its end; nothing where there is none."""
    folders = {Path(path).parent for path in paths}
    if len({folder.anchor for folder in folders}) != 1:
        return ""
    return str(Path(os.path.commonpath(folders)) / "_")[:-1]


def _sheets(
    paths: Sequence[str], progress: Callable[[int, int], None] | None
) -> tuple[list[str], list[tuple[int, int]]]:
    """Thumbnails on sheets as base64 JPEG, and the size of each; 0 x 0 for those that cannot be read."""
    sheets: list[str] = []
    sizes = [(0, 0)] * len(paths)
    done = 0
    for numbered in chunks(enumerate(paths), SHEET_SIDE**2):
        sheet = _blank()
        for (number, _), image in ordered_map(_small, numbered, workers=2, ahead=READ_AHEAD):
            row, column = divmod(number % SHEET_SIDE**2, SHEET_SIDE)
            if image is not None:
                sheet.paste(image, (column * THUMBNAIL_PIXELS, row * THUMBNAIL_PIXELS))
                sizes[number] = image.size
            done += 1
            if progress is not None:
                progress(done, len(paths))
        sheets.append(base64.b64encode(as_jpeg(sheet, JPEG_QUALITY)).decode("ascii"))
    return sheets, sizes


def _small(numbered: tuple[int, str]) -> Image.Image | None:
    return small(numbered[1], THUMBNAIL_PIXELS)


def _blank() -> Image.Image:
    side = SHEET_SIDE * THUMBNAIL_PIXELS
    return Image.new("RGB", (side, side), "grey")

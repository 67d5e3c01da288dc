"""Measure ``duplicates`` on made documents and photos, and write docs/benchmarks/duplicates.md.

Usage: python tools/measure_duplicates.py [--each 30]
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from babelclip.explore.pixel_comparison import same_picture
from made_documents import KINDS, encoded, resaves

PAGE = Path(__file__).parent.parent / "docs/benchmarks/duplicates.md"
HEAD = """# Duplicates: what is called the same picture

Written by `python tools/measure_duplicates.py`. The pictures are made (`tools/made_documents.py`), {each} of each kind.

A pair is *false* if two pictures that differ are called the same: each with the one in which a digit, a message, an
entry or a patch is another, or with the next shot, as it is and as JPEG of quality 75, and with {others} others of its
kind. A re-save is *found* if it is called the same as its original: JPEG of quality 60 to 95, WebP 60 to 90, half the
size by five filters, a third, and turned.

| kind | pairs that differ | false | re-saves | found | share |
|---|---:|---:|---:|---:|---:|
"""
OTHERS = 3


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=30, help="pictures of each kind")
    each: int = parser.parse_args().each
    rows = []
    for kind in KINDS:
        false = [same_picture(*pair) for seed in range(each) for pair in _different(kind, seed)]
        image_of = KINDS[kind]
        found = [same_picture(saved, image_of(seed)) for seed in range(each) for _, saved in resaves(image_of(seed))]
        rows.append((kind, len(false), sum(false), len(found), sum(found)))
        print(*rows[-1], flush=True)  # noqa: T201
    rows.append(("all", *(sum(column) for column in itertools.islice(zip(*rows, strict=True), 1, None))))
    table = "".join(f"| {' | '.join(map(str, row))} | {row[4] / row[3]:.3f} |\n" for row in rows)
    PAGE.write_text(HEAD.format(each=each, others=OTHERS) + table, encoding="utf-8")


def _different(kind: str, seed: int) -> Iterator[tuple[Image.Image, Image.Image]]:
    """Pairs of pictures that differ."""
    image, changed = KINDS[kind](seed), KINDS[kind](seed, changed=True)
    yield image, changed
    yield image, encoded(changed, "JPEG", quality=75)
    for step in range(1, OTHERS + 1):
        yield image, KINDS[kind](seed + step)


if __name__ == "__main__":
    main()

"""Where the things lie that engines are measured on, and what is in them: read by workers, written by making.

Like engines, this needs the standard library alone, and numpy and Pillow where pictures are read.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS_A_TEXT = 10
"""With the two special tokens: 12, a caption's usual length."""
SAMPLE_TEXTS = 64
"""What the text tower is calibrated on for int8."""
EXACT_TASKS = ("text", "tower")
"""Tasks whose vectors in int8 are compared with those in float32."""
EXACT_FIRST = 1_000_000


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of everything: rows of a batch, pixels, files, photos of the index."""

    texts: int
    pictures: int
    width: int
    height: int
    files: int
    file_width: int
    file_height: int
    photos: int

    @property
    def megapixels(self) -> str:
        """Of a file, in words for headings."""
        return f"{self.file_width * self.file_height / 1e6:.3g}"


REAL = Counts(128, 32, 640, 480, 24, 4000, 3000, 10_000)
SMALL = Counts(8, 4, 64, 48, 3, 160, 120, 100)


@dataclass(frozen=True, slots=True)
class Fixtures:
    """A folder of models and inputs."""

    root: Path

    @property
    def text(self) -> Path:
        """The text tower as sentence-transformers reads it, in the file forms of 2021."""
        return self.root / "text"

    @property
    def image(self) -> Path:
        """The CLIP pair that gives the image tower, as transformers saves it."""
        return self.root / "image"

    @property
    def pair(self) -> Path:
        """Both, calibrated for int8."""
        return self.root / "pair"

    @property
    def files(self) -> Path:
        """The folder of large JPEGs."""
        return self.root / "files"

    @property
    def exported(self) -> Path:
        """The text tower's graph as sentence-transformers exports it for ONNX Runtime."""
        return self.root / "text-onnx"

    def exact(self, task: str) -> Path:
        """Where the float32 unit vectors of one of EXACT_TASKS lie, made by babelclip.

        :param task: text or tower
        :return: a file of numpy
        """
        return self.root / "exact" / f"{task}.npy"

    def exact_texts(self) -> list[str]:
        """The texts that they are of; nothing was calibrated on them.

        :return: the texts
        """
        return self.texts(EXACT_FIRST, self.counts.texts)

    @property
    def facts(self) -> dict[str, Any]:
        """What making noted: words, side (of the image tower's square), multiply_adds by tower."""
        found: dict[str, Any] = json.loads((self.root / "facts.json").read_text(encoding="utf-8"))
        return found

    @property
    def counts(self) -> Counts:
        """How much of everything."""
        return Counts(**self.facts["counts"])

    def texts(self, first: int, count: int) -> list[str]:
        """Texts of 12 tokens; those of different numbers differ, so that no cache answers.

        :param first: the number of the first
        :param count: how many
        :return: the texts
        """
        words = self.facts["words"]
        return [" ".join(random.Random(first + i).choices(words, k=WORDS_A_TEXT)) for i in range(count)]

    def pictures(self, *, square: bool = False) -> list[Any]:
        """Decoded pictures.

        :param square: of the size that the image tower reads
        :return: RGB images of Pillow
        """
        from PIL import Image

        found = []
        for path in self.picture_paths(square=square):
            with Image.open(path) as image:
                found.append(image.convert("RGB"))
        return found

    def picture_paths(self, *, square: bool = False) -> list[Path]:
        """The files of pictures.

        :param square: as in pictures
        :return: their paths, in order
        """
        return sorted((self.root / ("squares" if square else "pictures")).iterdir())

    def file_paths(self) -> list[Path]:
        """The large JPEGs.

        :return: their paths, in order
        """
        return sorted(self.files.iterdir())

"""Load a model and embed texts and images with its towers."""

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from babelclip.checkpoints.specs import ImageSpec, TextSpec
from babelclip.checkpoints.weights import read_weights
from babelclip.errors import ImageError, InputError, ModelError
from babelclip.media.images import ImageInput, Pixels, describe, read_pixels
from babelclip.models import registry
from babelclip.models.precision import PRECISIONS, Precision, PrecisionPlan
from babelclip.models.towers import Towers
from babelclip.pipeline import by_length, chunks, ordered_map
from babelclip.settings import settings
from babelclip.text.languages import CODES
from babelclip.text.tokenizer import TextTokenizer, pad, require_strings
from babelclip.vectors import FloatArray, cosine, unit_rows

TEXT_BATCH_TOKENS, NARROW_BATCH_TOKENS, NARROW = 2048, 1024, 512
"""Tokens that are encoded together, padding included; the second for towers up to NARROW wide. The fewer, the less is
padded and the less room the engine holds; texts of one length go 4% slower through the pair with 1024, 768 wide.
"""
TEXT_BATCH_ROWS = 256
LENGTH_STEP = 4
"""Texts are padded to a multiple of it: the engine makes itself ready for every shape, which takes 8 ms and 5 MiB."""
TOKENIZED_AT_ONCE, TOKENIZED_AHEAD = 1024, 2
"""Texts that are tokenized, and sorted by length, together; the next ones while these are encoded."""
IMAGE_BATCH, CONVOLUTION_BATCH = 32, 2
"""Pictures that are encoded together. A ViT-B/32 is 5% faster with 32 than with 16. Convolutions are no faster in
larger batches, and hold room for each picture: ``mini`` takes 110 MiB less with 2 than with 16.
"""
LOGIT_SCALE = 100.0
"""Where a model does not state its own: the limit that CLIP was trained with, and reached (Radford et al. 2021)."""
DECODED_AHEAD = 2 * IMAGE_BATCH
"""Decoded pictures that may wait for the encoder: 10 MB at 224 pixels square."""

Tag = TypeVar("Tag")
_IMAGE_TYPES = (str, Path, bytes, Image.Image, np.ndarray)
EncodingProgress = Callable[[int], None]


class Model:
    """A text tower and an image tower that share one vector space. Thread-safe.

    A tower is compiled when it is first used, so that a text search never compiles the image tower.
    """

    def __init__(self, folders: registry.ModelFolders, *, runtime: str, precision: Precision, threads: int) -> None:
        """Describe the towers; use ``Model.load``.

        :param folders: where the towers are
        :param runtime: one of runtimes.RUNTIMES
        :param precision: in what the towers calculate
        :param threads: how many, or 0 for the engine's own choice
        """
        self._folders = folders
        self._threads = threads
        self._tokenizer: TextTokenizer | None = None
        self._tokenizer_lock = threading.Lock()
        self.name = folders.name
        self._towers = Towers(folders, runtime=runtime, precision=precision, threads=threads)
        self.text_spec, self.image_spec = self._towers.text_spec, self._towers.image_spec
        spec = self.text_spec or self.image_spec
        if spec is None:
            raise ModelError(f"{folders.name} has neither a text nor an image tower")
        self.dimension = spec.dimension
        if self.text_spec and self.image_spec and self.text_spec.dimension != self.image_spec.dimension:
            raise ModelError(
                f"the text tower gives {self.text_spec.dimension} dimensions and the image tower "
                f"{self.image_spec.dimension}: they are not a pair"
            )

    @classmethod
    def load(
        cls,
        name: str | Path | None = None,
        *,
        text: str | Path | None = None,
        image: str | Path | None = None,
        runtime: str | None = None,
        precision: Precision = "float32",
        threads: int | None = None,
    ) -> "Model":
        """Load a model.

        :param name: ``mini`` (the default), the name of a published pair, a hub name that was pulled, or a folder
        :param text: name or folder of the text tower, instead of ``name``
        :param image: name or folder of the image tower, instead of ``name``
        :param runtime: one of runtimes.RUNTIMES; None takes BABELCLIP_RUNTIME, else openvino
        :param precision: "float32" gives the published numbers, the same on every processor; "bfloat16" (openvino
            only), "int8" (models that are calibrated for it), or "auto": the fastest of these that model, engine and
            processor have
        :param threads: threads of the runtime, and of image decoding; None takes BABELCLIP_THREADS, else the
            runtime's default
        :return: the model; its towers are compiled at their first use
        :raises InputError: if name is combined with text or image, or precision is unknown
        :raises ModelError: if it cannot be found or read
        """
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r} is not known; known are {', '.join(PRECISIONS)}")
        if name is not None and (text is not None or image is not None):
            raise InputError("give either a name, or text and image, not both")
        if text is None and image is None:
            folders = registry.find(str(name) if name is not None else registry.DEFAULT)
        else:
            folders = registry.pair(text, image)
        return cls(
            folders,
            runtime=runtime or settings().runtime,
            precision=precision,
            threads=settings().threads if threads is None else threads,
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model supports."""
        return tuple(self._folders.manifest.get("languages", CODES))

    @property
    def verdicts(self) -> dict[str, str]:
        """Quality by language code: good, fair or poor; empty if it was not measured."""
        return dict(self._folders.manifest.get("verdicts", {}))

    @cached_property
    def logit_scale(self) -> float:
        """Factor of cosines before a softmax, from babelclip.json or the CLIP weights, else 100."""
        if "logit_scale" in self._folders.manifest:
            return float(self._folders.manifest["logit_scale"])
        if self.image_spec is not None and self.image_spec.family == "clip_vision":
            weights = read_weights(self.image_spec.folder)
            if "logit_scale" in weights:
                return math.exp(weights["logit_scale"].item())
        return LOGIT_SCALE

    @property
    def fingerprint(self) -> str:
        """Identify the vector space: sha256 over the model's files, 64 hexadecimal digits."""
        return registry.fingerprint(self._folders)

    def encode(self, items: str | ImageInput | Sequence[str | ImageInput], *, unit: bool = True) -> FloatArray:
        """Embed texts and images, mixed.

        :param items: a ``str`` is a text; a ``Path``, bytes, a PIL image or an array is an image; or a list of these
        :param unit: normalize; False returns the vectors as the towers compute them
        :return: float32 (n, dimension) in the order given, unit rows; (dimension,) for a single item
        :raises InputError: if an item is neither, or an image cannot be used
        """
        if not isinstance(items, list | tuple):
            return _only_row(self.encode([items], unit=unit))  # type: ignore[list-item]
        texts = [i for i, item in enumerate(items) if isinstance(item, str)]
        images = [i for i, item in enumerate(items) if not isinstance(item, str)]
        vectors = np.empty((len(items), self.dimension), dtype=np.float32)
        if texts:
            vectors[texts] = self.encode_text([str(items[i]) for i in texts], unit=unit)
        if images:
            vectors[images] = self.encode_images([items[i] for i in images], unit=unit)
        return vectors

    def encode_text(
        self, texts: str | Sequence[str], *, unit: bool = True, progress: EncodingProgress | None = None
    ) -> FloatArray:
        """Embed texts; repeated texts are encoded once.

        A text longer than ``text_spec.max_length`` tokens is truncated.

        :param texts: the texts, or one of them; an empty one is allowed
        :param unit: normalize; False returns the vectors as the tower computes them
        :param progress: called with the number of texts encoded since the last call
        :return: float32 (n, dimension), unit rows; (dimension,) for a single text
        :raises InputError: if something is not a string
        :raises ModelError: if the model has no text tower
        """
        if isinstance(texts, str):
            return _only_row(self.encode_text([texts], unit=unit))
        self._require_text()
        require_strings(texts)
        if len(texts) == 1:
            return self.encode_tokens(self._open_text().encode(texts), unit=unit, progress=progress)
        places: dict[str, int] = {}
        rows = np.array([places.setdefault(text, len(places)) for text in texts], dtype=np.int64)
        copies = np.bincount(rows, minlength=len(places))
        tokenizer = self._open_text()
        vectors = np.empty((len(places), self.dimension), dtype=np.float32)
        windows = list(chunks(places, TOKENIZED_AT_ONCE))
        tokenized: Iterable[tuple[list[str], list[list[int]]]] = (
            ordered_map(tokenizer.encode, windows, workers=1, ahead=TOKENIZED_AHEAD)
            if len(windows) > 1
            else [(window, tokenizer.encode(window)) for window in windows]
        )
        for window, ids in tokenized:
            start = places[window[0]]
            vectors[start : start + len(window)] = self.encode_tokens(ids, unit=unit)
            if progress is not None:
                progress(int(copies[start : start + len(window)].sum()))
        return vectors if len(places) == len(texts) else vectors[rows]

    def _open_text(self) -> TextTokenizer:
        """The tokenizer; it and the tower are opened side by side at the first call, later ones start no thread."""
        if self._tokenizer is None or not self._towers.ready("text"):
            with ThreadPoolExecutor(1, thread_name_prefix="babelclip") as pool:
                opened = pool.submit(self._towers.session, "text")
                tokenizer = self.tokenizer
                opened.result()
            return tokenizer
        return self._tokenizer

    def encode_tokens(
        self, ids: Sequence[Sequence[int]], *, unit: bool = True, progress: EncodingProgress | None = None
    ) -> FloatArray:
        """Embed tokenized texts.

        :param ids: the ids of each text as ``tokenizer.encode`` gives them, special tokens included
        :param unit: normalize; False returns the vectors as the tower computes them
        :param progress: called with the number of texts of each batch
        :return: float32 (n, dimension), unit rows
        :raises ModelError: if the model has no text tower
        """
        spec, session = self._require_text(), self._towers.session("text")
        widths = [max(len(row), min(spec.max_length, -(-len(row) // LENGTH_STEP) * LENGTH_STEP)) for row in ids]

        def run(batch: Sequence[Sequence[int]], width: int) -> FloatArray:
            padded, mask = pad(batch, spec.pad_id, width)
            vectors = session.run({"ids": padded, "mask": mask})
            if progress is not None:
                progress(len(batch))
            return vectors

        if len(ids) == 1:  # a query, which sorting into batches would take a tenth longer
            vectors = run(ids, widths[0])
        else:
            most = NARROW_BATCH_TOKENS if spec.transformer.width <= NARROW else TEXT_BATCH_TOKENS
            vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
            for rows in by_length(widths, max_tokens=most, max_rows=TEXT_BATCH_ROWS):
                vectors[rows] = run([ids[row] for row in rows], widths[rows[0]])
        return unit_rows(vectors) if unit else vectors

    def encode_images(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        unit: bool = True,
        progress: EncodingProgress | None = None,
    ) -> FloatArray:
        """Embed images. The first unusable image raises; ``stream_images`` continues past it.

        :param images: paths, bytes of files, PIL images or arrays (h, w, 3), or one of these
        :param unit: normalize; False returns the vectors as the tower computes them
        :param progress: called with 1 after each image
        :return: float32 (n, dimension), unit rows; (dimension,) for a single image
        :raises ImageError: if one of them cannot be used; names it
        :raises ModelError: if the model has no image tower
        """
        if isinstance(images, _IMAGE_TYPES):
            return _only_row(self.encode_images([images], unit=unit))
        vectors = np.empty((len(images), self.dimension), dtype=np.float32)
        missing = set(range(len(images)))
        for position, vector in self.stream_images(enumerate(images), unit=unit):
            if isinstance(vector, ImageError):
                raise vector
            if position in missing and progress is not None:
                progress(1)
            missing.discard(position)
            vectors[position] = vector
        if missing:
            raise ModelError(f"{len(missing)} of {len(images)} images got no vector; the first is image {min(missing)}")
        return vectors

    def stream_images(
        self, images: Iterable[tuple[Tag, ImageInput]], *, unit: bool = True
    ) -> Iterator[tuple[Tag, FloatArray | ImageError]]:
        """Embed a stream of images in constant memory; threads decode ahead of the encoder.

        Each image comes with a tag that identifies it, and its vector with the same tag; identify a vector by its tag,
        not by its position in the stream.

        :param images: (tag, image) pairs, an image being a path, bytes, a PIL image or an array; drawn as needed
        :param unit: scale to length one
        :yield: a tag, and the float32 (dimension,) vector of its image, or an ImageError; in the order given
        :raises ModelError: if the model has no image tower
        """
        self._require_image()
        session = self._towers.session("image")

        def decode(item: tuple[Tag, ImageInput]) -> Pixels | ImageError:
            try:
                return self.pixels(item[1])
            except ImageError as error:
                return error

        decoded = ordered_map(decode, images, workers=self._threads or os.cpu_count() or 1, ahead=DECODED_AHEAD)
        for batch in chunks(decoded, self._image_batch):
            good = [pixels for _, pixels in batch if not isinstance(pixels, ImageError)]
            vectors = session.run({"pixels": np.stack(good)}) if good else np.empty((0, self.dimension), np.float32)
            rows = iter(unit_rows(vectors) if unit else vectors)
            for (tag, _), pixels in batch:
                yield tag, pixels if isinstance(pixels, ImageError) else next(rows)

    def pixels(self, image: ImageInput) -> Pixels:
        """Preprocess an image for the image tower.

        :param image: a path, the bytes of a file, a PIL image or an array (h, w, 3)
        :return: uint8 (height, width, 3)
        :raises ImageError: if it cannot be used; names it
        :raises ModelError: if the model has no image tower
        """
        return read_pixels(_image(image), self._require_image().pixels)

    def encode_pixels(self, pixels: Sequence[Pixels], *, unit: bool = True) -> FloatArray:
        """Embed images that ``pixels`` has preprocessed.

        :param pixels: uint8 (height, width, 3), each of the tower's size
        :param unit: normalize; False returns the vectors as the tower computes them
        :return: float32 (n, dimension), unit rows
        :raises ModelError: if the model has no image tower
        """
        session = self._towers.session("image")
        vectors = np.empty((len(pixels), self.dimension), dtype=np.float32)
        for start in range(0, len(pixels), self._image_batch):
            batch = slice(start, start + self._image_batch)
            vectors[batch] = session.run({"pixels": np.stack(pixels[batch])})
        return unit_rows(vectors) if unit else vectors

    def similarity(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Compute the cosine of every row of one array with every row of another.

        :param a: float32 (n, dimension) or (dimension,)
        :param b: float32 (m, dimension) or (dimension,)
        :return: float32 (n, m), in -1..1
        """
        return cosine(a, b)

    @property
    def tokenizer(self) -> TextTokenizer:
        """The text tower's tokenizer."""
        spec = self._require_text()
        with self._tokenizer_lock:
            if self._tokenizer is None:
                self._tokenizer = TextTokenizer(spec)
            return self._tokenizer

    @property
    def _image_batch(self) -> int:
        return CONVOLUTION_BATCH if self._require_image().efficientnet is not None else IMAGE_BATCH

    def _require_text(self) -> TextSpec:
        if self.text_spec is None:
            raise ModelError(f"{self.name} has no text tower; load one with text=")
        return self.text_spec

    def _require_image(self) -> ImageSpec:
        if self.image_spec is None:
            raise ModelError(f"{self.name} has no image tower; load one with image=")
        return self.image_spec

    def precision(self, tower: str) -> PrecisionPlan:
        """Resolve the precision of a tower and the reason for it.

        :param tower: "text" or "image"
        :return: the choice
        :raises InputError: if the runtime does not support the requested precision
        :raises ModelError: if int8 was requested and the model has no activation ranges
        """
        return self._towers.precision(tower)


def _only_row(rows: FloatArray) -> FloatArray:
    """The vector of a single item, from an array of one row."""
    row: FloatArray = rows[0]
    return row


def _image(item: Any) -> str | Path | bytes | Image.Image | NDArray[Any]:
    """An image as it was given, if it is one."""
    if isinstance(item, _IMAGE_TYPES):
        return item
    raise ImageError(f"{describe(item)[:80]} ({type(item).__name__}) is not a path, bytes, a PIL image or an array")

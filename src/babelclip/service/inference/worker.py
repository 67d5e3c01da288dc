"""The inference worker of a model: prepares texts and images beside the event loop, and encodes them in batches."""

import asyncio
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from babelclip.errors import ImageError, ImageTooLargeError, InputError
from babelclip.media.images import Pixels
from babelclip.models.model import Model
from babelclip.service.errors import TextTooLongError
from babelclip.service.inference.batcher import Batcher
from babelclip.vectors import FloatArray

INLINE_CHARACTERS = 2000
"""Texts up to this many characters in all are tokenized in the event loop, which is faster than a thread."""
MAX_TOKENS = 512
"""Limit of a text without ``truncate``, as the hosted model has it; a model may read fewer, as the response reports."""
MAX_CHARACTERS = 2_000_000
"""Limit of all texts of a request."""
IMAGE_COST = 128
"""Tokens that an image counts in the queue: 16 images are a batch."""
WORKERS = 2
"""Threads that decode and tokenize."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Tokenized texts, the number of their tokens, and the number of truncated texts."""

    ids: list[list[int]]
    tokens: int
    truncated: int


class InferenceWorker:
    """A model, its batch queue, and the threads that prepare inputs."""

    def __init__(self, name: str, model: Model, *, capacity: int, max_pixels: int) -> None:
        """Start a worker.

        :param name: name of the model in the service
        :param model: the model
        :param capacity: tokens that may be queued
        :param max_pixels: limit of an uploaded image
        """
        self.model = model
        self.name = name
        self._max_pixels = max_pixels
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="babelclip-ready")
        self.batcher = Batcher(
            {
                "text": lambda rows: model.encode_tokens(rows, unit=False),
                "image": lambda rows: model.encode_pixels(rows, unit=False),
            },
            dimension=model.dimension,
            capacity=capacity,
        )

    def warm(self) -> None:
        """Compile both towers before the first request."""
        if self.model.text_spec is not None:
            self.model.encode_text(["warm"])
        if self.model.image_spec is not None:
            self.model.encode_images([np.zeros((8, 8, 3), dtype=np.uint8)])

    def close(self) -> None:
        """Finish the queue, and end the threads."""
        self.batcher.close()
        self._pool.shutdown(cancel_futures=True)

    async def read_texts(self, texts: Sequence[str], *, truncate: bool) -> Texts:
        """Tokenize texts.

        :param texts: the texts
        :param truncate: truncate texts over MAX_TOKENS, rather than refuse them
        :return: the tokenized texts
        :raises InputError: if a text is too long, or empty after normalization
        """
        characters = sum(map(len, texts))
        if characters > MAX_CHARACTERS:
            raise InputError(f"the texts have {characters} characters, over the limit of {MAX_CHARACTERS} a request")
        count = self.model.tokenizer.encode_counted
        if characters <= INLINE_CHARACTERS:
            ids, totals = count(texts)
        else:
            ids, totals = await asyncio.get_running_loop().run_in_executor(self._pool, count, texts)
        return self._checked(ids, totals, truncate)

    def read_tokens(self, rows: Sequence[Sequence[int]], *, truncate: bool) -> Texts:
        """Check texts that were sent as tokens, with or without special tokens.

        :param rows: token ids of the model's vocabulary
        :param truncate: truncate texts over MAX_TOKENS, rather than refuse them
        :return: the tokenized texts
        :raises InputError: if a text is too long, or an id is not in the vocabulary
        """
        framed = []
        for place, row in enumerate(rows):
            try:
                framed.append(self.model.tokenizer.framed(row))
            except InputError as error:
                raise InputError(f"item {place}: {error}" if len(rows) > 1 else str(error)) from None
        longest = self.model.text_spec.max_length if self.model.text_spec else MAX_TOKENS
        ids = [row if len(row) <= longest else [*row[: longest - 1], row[-1]] for row in framed]
        return self._checked(ids, [len(row) for row in framed], truncate)

    async def read_image(self, content: bytes) -> Pixels:
        """Decode and preprocess an image.

        :param content: the bytes of an image file
        :return: uint8 (height, width, 3)
        :raises ImageError: if it is damaged, too large, or not an image
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._decode, content)

    async def encode_texts(self, owner: str, ids: Sequence[Sequence[int]]) -> FloatArray:
        """Encode texts.

        :param owner: id of the API key
        :param ids: token ids of the texts
        :return: float32 (n, d), not normalized
        """
        return await self.batcher.run(owner, "text", ids, [len(row) for row in ids])

    async def encode_images(self, owner: str, pixels: Sequence[Pixels]) -> FloatArray:
        """Encode images.

        :param owner: id of the API key
        :param pixels: preprocessed images from ``read_image``
        :return: float32 (n, d), not normalized
        """
        return await self.batcher.run(owner, "image", pixels, [IMAGE_COST] * len(pixels))

    def _checked(self, ids: list[list[int]], totals: list[int], truncate: bool) -> Texts:
        """The texts, if none of them is over the limit."""
        for position, total in enumerate(totals):
            if total > MAX_TOKENS and not truncate:
                raise TextTooLongError(position, total, MAX_TOKENS)
        cut = sum(total > len(row) for row, total in zip(ids, totals, strict=True))
        return Texts(ids, sum(map(len, ids)), cut)

    def _decode(self, content: bytes) -> Pixels:
        """Check the size from the header, then decode."""
        try:
            with Image.open(io.BytesIO(content)) as image:
                pixels = image.width * image.height
        except Exception:  # the decoder below gives the better error
            pixels = 0
        if pixels > self._max_pixels:
            raise ImageTooLargeError(
                f"image of {len(content)} bytes: {pixels} pixels, over the limit of {self._max_pixels}; send it smaller"
            )
        try:
            return self.model.pixels(content)
        except ImageError:
            raise
        except MemoryError:
            raise ImageTooLargeError(f"image of {len(content)} bytes: not enough memory to decode it") from None

"""A model that serves: texts and pictures are made ready beside the event loop, and run in batches."""

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
"""Texts up to so many characters in all are tokenised in the event loop, which is quicker than a thread."""
MAX_TOKENS = 512
"""Of a text that is not to be cut, as the hosted model has it; a model may read fewer, and the answer says so."""
MAX_CHARACTERS = 2_000_000
"""Of all texts of a request."""
IMAGE_COST = 128
"""What a picture counts in the queue, in tokens: 16 are a batch."""
WORKERS = 2
"""Threads that decode and tokenise."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts as the tower reads them, their tokens, and how many of them were cut."""

    ids: list[list[int]]
    tokens: int
    truncated: int


class InferenceWorker:
    """A model, its queue, and the threads that feed it."""

    def __init__(self, name: str, model: Model, *, capacity: int, max_pixels: int) -> None:
        """Put a model to work.

        :param name: as the service lists it
        :param model: the model
        :param capacity: tokens that may wait
        :param max_pixels: of an uploaded picture
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
        """Compile both towers, so that the first request waits for nothing."""
        if self.model.text_spec is not None:
            self.model.encode_text(["warm"])
        if self.model.image_spec is not None:
            self.model.encode_images([np.zeros((8, 8, 3), dtype=np.uint8)])

    def close(self) -> None:
        """Finish what was taken, and end."""
        self.batcher.close()
        self._pool.shutdown(cancel_futures=True)

    async def read_texts(self, texts: Sequence[str], *, truncate: bool) -> Texts:
        """Tokenise texts.

        :param texts: the texts
        :param truncate: cut what is over MAX_TOKENS, rather than refuse it
        :return: what the tower reads
        :raises InputError: if one is too long, or the tower reads nothing in it
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
        """Take texts that are tokens already, with or without the special ones around them.

        :param rows: ids of the model's own vocabulary
        :param truncate: cut what is over MAX_TOKENS, rather than refuse it
        :return: what the tower reads
        :raises InputError: if one is too long, or an id is not in the vocabulary
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
        """Decode a picture and make it ready for the tower.

        :param content: the bytes of a file
        :return: uint8 (height, width, 3)
        :raises ImageError: if it is damaged, too large, or no picture
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._decode, content)

    async def encode_texts(self, owner: str, ids: Sequence[Sequence[int]]) -> FloatArray:
        """Vectors of texts.

        :param owner: the key
        :param ids: of Texts
        :return: float32 (n, d), as the tower gives them
        """
        return await self.batcher.run(owner, "text", ids, [len(row) for row in ids])

    async def encode_images(self, owner: str, pixels: Sequence[Pixels]) -> FloatArray:
        """Vectors of pictures.

        :param owner: the key
        :param pixels: of read_image
        :return: float32 (n, d), as the tower gives them
        """
        return await self.batcher.run(owner, "image", pixels, [IMAGE_COST] * len(pixels))

    def _checked(self, ids: list[list[int]], totals: list[int], truncate: bool) -> Texts:
        """The texts, if none is over the limit."""
        for position, total in enumerate(totals):
            if total > MAX_TOKENS and not truncate:
                raise TextTooLongError(position, total, MAX_TOKENS)
        cut = sum(total > len(row) for row, total in zip(ids, totals, strict=True))
        return Texts(ids, sum(map(len, ids)), cut)

    def _decode(self, content: bytes) -> Pixels:
        """Look at the size, then decode."""
        try:
            with Image.open(io.BytesIO(content)) as image:
                pixels = image.width * image.height
        except Exception:  # what is wrong with it, the decoder says better
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
            raise ImageTooLargeError(f"image of {len(content)} bytes: there is no memory to decode it") from None

"""Inputs of a request: texts, tokens and images, mixed; prepared, then encoded."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from babelclip.errors import ImageError, InputError
from babelclip.media.images import Pixels
from babelclip.service.inference.worker import InferenceWorker, Texts
from babelclip.vectors import FloatArray

Fetch = Callable[[str], Awaitable[bytes]]
"""URL -> the bytes of an image."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Prepared texts and images, and their positions in the request."""

    texts: Texts
    text_positions: list[int]
    pixels: list[Pixels]
    image_positions: list[int]

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.pixels)

    async def encode(self, worker: InferenceWorker, owner: str) -> FloatArray:
        """Encode the inputs.

        :param worker: the worker of the model
        :param owner: id of the API key
        :return: float32 (n, d) in the order of the request, not normalized
        """
        if not self.pixels:
            return await worker.encode_texts(owner, self.texts.ids)
        if not self.text_positions:
            return await worker.encode_images(owner, self.pixels)
        vectors = np.empty((len(self.text_positions) + self.images, worker.model.dimension), dtype=np.float32)
        async with asyncio.TaskGroup() as group:
            texts = group.create_task(worker.encode_texts(owner, self.texts.ids))
            images = group.create_task(worker.encode_images(owner, self.pixels))
        vectors[self.text_positions], vectors[self.image_positions] = texts.result(), images.result()
        return vectors


async def read_inputs(worker: InferenceWorker, given: Any, *, truncate: bool, fetch: Fetch) -> Inputs:
    """Prepare the inputs of a request.

    :param worker: the worker of the model
    :param given: inputs that ``requests.check_input`` accepts
    :param truncate: truncate long texts rather than refuse them
    :param fetch: downloads images given by URL
    :return: the inputs
    :raises InputError: if a text is too long, or a token is not in the vocabulary
    :raises ImageError: if an image cannot be decoded
    """
    items = given if isinstance(given, list) else [given]
    if isinstance(items[0], int):
        items = [items]
    if isinstance(items[0], list):
        return Inputs(worker.read_tokens(items, truncate=truncate), list(range(len(items))), [], [])
    texts: dict[int, str] = {}
    images: dict[int, str] = {}
    for position, item in enumerate(items):
        if isinstance(item, dict) and "image" in item:
            images[position] = item["image"]
        else:
            texts[position] = item["text"] if isinstance(item, dict) else item
    read = await worker.read_texts(list(texts.values()), truncate=truncate) if texts else Texts([], 0, 0)
    return Inputs(read, list(texts), await read_images(worker, images, fetch, of=len(items)), list(images))


async def read_images(worker: InferenceWorker, images: Mapping[int, str], fetch: Fetch, *, of: int) -> list[Pixels]:
    """Decode and preprocess the images of a request.

    :param worker: the worker of the model
    :param images: position in the request -> base64, data URI or URL
    :param fetch: downloads images given by URL
    :param of: number of items of the request
    :return: the preprocessed images
    :raises ImageError: if an image cannot be decoded; names its position if the request has several items
    """
    pixels = []
    for position, image in images.items():
        try:
            pixels.append(await worker.read_image(await image_bytes(image, fetch)))
        except ImageError as error:
            if of > 1:
                error.args = (f"item {position}: {error}",)
            raise
    return pixels


async def image_bytes(image: str, fetch: Fetch) -> bytes:
    """Decode base64 or a data URI, or download a URL.

    :param image: base64, a data URI or a URL
    :param fetch: downloads a URL
    :return: the bytes of an image file
    :raises InputError: if it is none of these
    """
    if image[:8].casefold().startswith(("http://", "https://")):
        return await fetch(image)
    if image[:5].casefold() == "data:":
        head, comma, image = image.partition(",")
        if not comma or not head.casefold().endswith(";base64"):
            raise ImageError("the data URI is not of the form data:image/jpeg;base64,...")
    try:
        content = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("the image is not valid base64, nor a data URI, nor an http(s) URL") from None
    if not content:
        raise InputError("the image is empty")
    return content

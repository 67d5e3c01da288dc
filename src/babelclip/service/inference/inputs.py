"""What a request gives to be embedded: texts, tokens and pictures, mixed; made ready, then encoded."""

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
"""URL -> the bytes of a picture."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Texts and pictures as the towers read them, and their places in the request."""

    texts: Texts
    text_places: list[int]
    pixels: list[Pixels]
    pixel_places: list[int]

    @property
    def images(self) -> int:
        """How many pictures."""
        return len(self.pixels)

    async def encode(self, worker: InferenceWorker, owner: str) -> FloatArray:
        """The vectors.

        :param worker: the model
        :param owner: the key
        :return: float32 (n, d) in the order of the request, as the towers give them
        """
        if not self.pixels:
            return await worker.encode_texts(owner, self.texts.ids)
        if not self.text_places:
            return await worker.encode_images(owner, self.pixels)
        vectors = np.empty((len(self.text_places) + self.images, worker.model.dimension), dtype=np.float32)
        async with asyncio.TaskGroup() as group:
            texts = group.create_task(worker.encode_texts(owner, self.texts.ids))
            images = group.create_task(worker.encode_images(owner, self.pixels))
        vectors[self.text_places], vectors[self.pixel_places] = texts.result(), images.result()
        return vectors


async def read_inputs(worker: InferenceWorker, given: Any, *, truncate: bool, fetch: Fetch) -> Inputs:
    """Make ready what a request gives.

    :param worker: the model
    :param given: of a form that forms.check_input lets pass
    :param truncate: cut long texts rather than refuse them
    :param fetch: of pictures that are given by URL
    :return: the inputs
    :raises InputError: if a text is too long, or a token is not in the vocabulary
    :raises ImageError: if a picture cannot be used
    """
    items = given if isinstance(given, list) else [given]
    if isinstance(items[0], int):
        items = [items]
    if isinstance(items[0], list):
        return Inputs(worker.read_tokens(items, truncate=truncate), list(range(len(items))), [], [])
    texts: dict[int, str] = {}
    images: dict[int, str] = {}
    for place, item in enumerate(items):
        if isinstance(item, dict) and "image" in item:
            images[place] = item["image"]
        else:
            texts[place] = item["text"] if isinstance(item, dict) else item
    read = await worker.read_texts(list(texts.values()), truncate=truncate) if texts else Texts([], 0, 0)
    return Inputs(read, list(texts), await read_images(worker, images, fetch, of=len(items)), list(images))


async def read_images(worker: InferenceWorker, images: Mapping[int, str], fetch: Fetch, *, of: int) -> list[Pixels]:
    """Decode pictures that a request gives as text.

    :param worker: the model
    :param images: place in the request -> base64, data URI or URL
    :param fetch: of those given by URL
    :param of: how many items the request has
    :return: what the tower sees
    :raises ImageError: if one cannot be used; names its place, where there are others
    """
    pixels = []
    for place, image in images.items():
        try:
            pixels.append(await worker.read_image(await image_bytes(image, fetch)))
        except ImageError as error:
            if of > 1:
                error.args = (f"item {place}: {error}",)
            raise
    return pixels


async def image_bytes(image: str, fetch: Fetch) -> bytes:
    """The bytes of a picture that a request gives as text.

    :param image: base64, a data URI or a URL
    :param fetch: of a URL
    :return: the bytes of a file
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

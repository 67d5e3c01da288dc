"""Vectors by the authors' own code: sentence-transformers and transformers. Needs the extra ``reference``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from babelclip.extras import importing
from babelclip.vectors import FloatArray

with importing("reference"):
    import transformers
    from sentence_transformers import SentenceTransformer

    from babelclip.training.logging import silence_libraries


def text_vectors(folder: Path, texts: Sequence[str]) -> FloatArray:
    """Encode texts with sentence-transformers.

    :param folder: a sentence-transformers text folder
    :param texts: the texts
    :return: float32 (n, dimension), as the model gives them
    """
    silence_libraries()
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return np.asarray(model.encode(list(texts), show_progress_bar=False), dtype=np.float32)


def clip_text_vectors(folder: Path, texts: Sequence[str]) -> FloatArray:
    """Encode texts with the CLIP model of transformers.

    :param folder: a CLIPModel folder
    :param texts: the texts
    :return: float32 (n, dimension), not normalised
    """
    model = transformers.CLIPModel.from_pretrained(folder)
    tokenizer = transformers.CLIPTokenizerFast.from_pretrained(folder)
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=77, return_tensors="pt")
    return _features(model.get_text_features(**batch))


def image_vectors(folder: Path, images: Sequence[Any]) -> FloatArray:
    """Encode images with the CLIP model of transformers.

    :param folder: a CLIPModel or CLIPVisionModelWithProjection folder
    :param images: PIL images
    :return: float32 (n, dimension), not normalised
    """
    processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    pixels = processor(images=list(images), return_tensors="pt")
    if json.loads((folder / "config.json").read_text())["model_type"] == "clip":
        return _features(transformers.CLIPModel.from_pretrained(folder).get_image_features(**pixels))
    return _features(transformers.CLIPVisionModelWithProjection.from_pretrained(folder)(**pixels).image_embeds)


def _features(output: Any) -> FloatArray:
    """Return the projected vectors, which newer versions of transformers wrap in an output object."""
    tensor = getattr(output, "pooler_output", output)
    return np.asarray(tensor.detach().numpy(), dtype=np.float32)

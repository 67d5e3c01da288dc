"""Adapter of models to mteb (Muennighoff et al. 2023; extra ``evaluate``)::

import mteb
mteb.evaluate(MtebModel(babelclip.Model.load()), mteb.get_tasks(["STSBenchmark"]))
"""

from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from babelclip.models.model import Model
from babelclip.vectors import FloatArray, unit_rows


class MtebModel(AbsEncoder):
    """Implements the interface of mteb encoders; the similarity is the cosine."""

    def __init__(self, model: Model) -> None:
        """Store the model and its metadata.

        :param model: the model
        """
        self.model = model
        modalities = [name for name, spec in (("text", model.text_spec), ("image", model.image_spec)) if spec]
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"babelclip/{model.name.replace('/', '_')}",
                "revision": model.fingerprint,
                "embed_dim": model.dimension,
                "max_tokens": float(model.text_spec.max_length) if model.text_spec else None,
                "similarity_fn_name": ScoringFunction.COSINE,
                "modalities": modalities,
                "framework": [],
                "use_instructions": False,
            }
        )

    def encode(self, inputs: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, **settings: Any) -> FloatArray:
        """Embed the inputs of a task; an item of text and picture gets the normalized mean.

        :param inputs: batches with ``text`` (strings), ``image`` (PIL images), or both
        :param task_metadata: metadata of the task; ignored
        :param hf_split: name of the split; ignored
        :param hf_subset: name of the subset; ignored
        :param **settings: further options of mteb, such as the batch size; ignored
        :return: float32 (n, dimension), unit rows
        """
        rows: list[FloatArray] = []
        for batch in inputs:
            parts = []
            if "text" in batch:
                parts.append(self.model.encode_text(list(batch["text"])))
            if "image" in batch:
                parts.append(self.model.encode_images(list(batch["image"])))
            rows.append(parts[0] if len(parts) == 1 else unit_rows(np.mean(parts, axis=0)))
        return np.concatenate(rows) if rows else np.empty((0, self.model.dimension), dtype=np.float32)

"""Writes the image tower: EfficientNet-Lite2, its classifier, and the class vectors that the softmax mixes."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from efficientnet_source import HEAD_CHANNELS, IMAGE_SIZE, STEM_CHANNELS, block_rows

__all__ = ["write_image_folder"]

# Google's release was trained on (pixel - 127) / 128.
PIXEL_MEAN = 127 / 255
PIXEL_STD = 128 / 255
RESCALE_FACTOR = 1 / 255
BICUBIC = 3


def write_image_folder(
    folder: Path, tensors: dict[str, NDArray[np.float32]], vectors: NDArray[np.float32], temperature: float
) -> None:
    """Write config, preprocessing and weights.

    :param folder: the image folder, made if absent.
    :param tensors: the network as ``efficientnet_source.read_efficientnet`` gives it.
    :param vectors: float32 (1000, 512), the class vectors.
    :param temperature: what the logits are divided by before the softmax.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes, dimension = vectors.shape
    config = {
        "model_type": "efficientnet-lite",
        "image_size": IMAGE_SIZE,
        "stem_channels": STEM_CHANNELS,
        "head_channels": HEAD_CHANNELS,
        "blocks": block_rows(),
        "temperature": temperature,
        "num_classes": classes,
        "projection_dim": dimension,
    }
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "resample": BICUBIC,
        "do_center_crop": False,
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "do_rescale": True,
        "rescale_factor": RESCALE_FACTOR,
        "do_normalize": True,
        "image_mean": [PIXEL_MEAN] * 3,
        "image_std": [PIXEL_STD] * 3,
    }
    for name, value in (("config.json", config), ("preprocessor_config.json", preprocessor)):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    save_file({**tensors, "class_vectors": vectors}, folder / "model.safetensors")

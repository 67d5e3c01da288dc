"""What a tower is: the facts that building, tokenising and preprocessing need. ``layouts`` reads them off folders."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TransformerSpec:
    """The facts that all transformer encoders share. ``feed_forward`` is the inner width of the MLP."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    activation: str
    layer_norm_eps: float


@dataclass(frozen=True, slots=True)
class DenseSpec:
    """A Dense module after the pooling; its weights are ``linear.weight`` (out, in) and, if any, ``linear.bias``."""

    folder: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str


@dataclass(frozen=True, slots=True)
class TextSpec:
    """A text tower. ``max_length`` counts tokens, special ones included; ``prompt`` is set before every text.

    ``position_offset`` is the row of the position table that the first token takes (2 in XLM-RoBERTa, else 0).
    ``normalize`` says that the published output itself is of unit length.
    """

    folder: Path
    tokenizer_folder: Path
    family: str
    transformer: TransformerSpec
    vocab_size: int
    max_positions: int
    position_offset: int
    max_length: int
    lowercase: bool
    pad_id: int
    end_of_text_id: int | None
    pooling: str
    dense: tuple[DenseSpec, ...]
    normalize: bool
    prompt: str
    dimension: int


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """How a picture becomes the square of pixels that the encoder reads (transformers' CLIPImageProcessor).

    ``resize`` is the shortest side, or (height, width) where the picture is stretched; ``crop`` (height, width) is cut
    from the centre, or nothing is; ``resample`` is Pillow's number. ``mean`` and ``std`` are for values in 0..1.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int] | None
    resample: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what the encoder reads."""
        height, width = self.crop or (self.resize if isinstance(self.resize, tuple) else (self.resize, self.resize))
        return height, width, 3


@dataclass(frozen=True, slots=True)
class ConvBlockSpec:
    """One inverted-residual block of an EfficientNet-Lite (Tan & Le 2019; no squeeze-excite, ReLU6)."""

    kernel: int
    stride: int
    expand: int
    in_channels: int
    out_channels: int


@dataclass(frozen=True, slots=True)
class EfficientNetSpec:
    """An EfficientNet-Lite with a class head, and the temperature of its softmax over the classes.

    ``residual`` is the inner width of the learned head that adds to the mix of class vectors, 0 where there is none.
    """

    blocks: tuple[ConvBlockSpec, ...]
    stem_channels: int
    head_channels: int
    classes: int
    temperature: float
    residual: int = 0


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An image tower: a CLIP ViT (``transformer`` and ``patch``) or an EfficientNet-Lite (``efficientnet``)."""

    folder: Path
    family: str
    pixels: PixelSpec
    dimension: int
    transformer: TransformerSpec | None = None
    patch: int = 0
    efficientnet: EfficientNetSpec | None = None

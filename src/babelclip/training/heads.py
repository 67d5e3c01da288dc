"""Alignment of a frozen image encoder with a text space: locked-image tuning (Zhai et al. 2022).

The image head is trained with a symmetric contrastive loss (Radford et al. 2021) over captions in any language; a text
that several pictures share is a positive for all of them. An encoder that has a classifier starts as ConSE (Norouzi et
al. 2013): its probabilities weight the text vectors of the class names. A second loss preserves the classifier's
knowledge: the cosines with class names in a random language must reproduce the classifier's probabilities. Few classes
occur in a collection, so this loss is also computed on synthetic features: features of a picture, moved in the
direction of a random class. A linear map of the text vectors can be trained too; it is folded into the text folder's
last Dense layer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from babelclip.training.features import Features
from babelclip.vectors import FloatArray

ClassNameRows = Mapping[str, Mapping[int, tuple[int, ...]]]
"""Language -> class -> rows of the text vectors: the names of a class in a language."""
Encoder = Callable[[FloatArray], FloatArray]
HeadEvaluator = Callable[[Encoder, Encoder], dict[str, float]]
"""Takes image features -> unit vectors and text vectors -> unit vectors; returns figures for the log."""
HeadProgressCallback = Callable[[int, int, dict[str, float]], None]
"""Receives the step, the number of steps, and the latest entry of the log."""

SYNTHETIC_LOGITS = 6.0, 16.0
"""Increase of a synthetic class's logit: from barely measurable to certain."""
SYNTHETIC_RETAINED = 0.2, 1.0
"""Share of a picture's original features that synthetic features retain."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Hyperparameters of the heads. ``text_rate`` 0 leaves the text vectors unchanged.

    ``others`` is the weight of the other languages' names relative to the source's in the initial class vectors,
    ``source_share`` the share of steps that use the source language's class names.
    """

    steps: int = 1500
    batch: int = 512
    learning_rate: float = 4e-4
    text_rate: float = 3e-4
    class_rate: float = 3e-4
    scale_rate: float = 1e-2
    weight_decay: float = 0.05
    width: int = 768
    dropout: float = 0.5
    classes: float = 1.0
    others: float = 2.0
    temperature: float = 1.5
    source_share: float = 0.3
    warmup: int = 50
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CaptionedSet:
    """Features of pictures, and by language the rows of their captions. ``weight`` is the share of the steps."""

    name: str
    features: FloatArray
    texts: Sequence[Mapping[str, Sequence[int]]]
    weight: float


@dataclass(frozen=True, slots=True)
class TrainedHeads:
    """The image head's tensors, the text map's weight (d, d) and bias (d,), and the scale of cosines."""

    image: dict[str, FloatArray]
    text_weight: FloatArray
    text_bias: FloatArray
    temperature: float
    scale: float
    log: list[dict[str, float]]


class ClassifierHead(nn.Module):
    """Mixes class vectors by class probabilities, and adds a small network's output on the pooled channels."""

    def __init__(
        self, start: FloatArray, weight: FloatArray, bias: FloatArray, features: FloatArray, config: HeadConfig
    ) -> None:
        """Initialise the head to the mixture alone.

        :param start: float32 (classes, d), the initial class vectors
        :param weight: float32 (classes, channels), of the classifier, which computes logits from pooled channels
        :param bias: float32 (classes,), of the classifier
        :param features: float32 (n, channels + classes), pooled channels and logits; mean and deviation standardise the
            channels
        :param config: width and dropout
        """
        super().__init__()
        self.channels = channels = weight.shape[1]
        self.classifier = torch.from_numpy(weight), torch.from_numpy(bias)
        self.mean = torch.from_numpy(features[:, :channels].mean(axis=0))
        self.deviation = torch.from_numpy(features[:, :channels].std(axis=0, ddof=1) + 0.1)
        self.temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.vectors = nn.Parameter(torch.from_numpy(start).clone())
        self.expand = nn.Linear(channels, config.width)
        self.contract = nn.Linear(config.width, start.shape[1])
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (n, channels + classes) to vectors (n, d)."""
        channels, logits = features[:, : self.channels], features[:, self.channels :]
        mixed = torch.softmax(logits / self.temperature.exp(), dim=1) @ self.vectors
        inner = functional.gelu(self.expand(self.dropout((channels - self.mean) / self.deviation)))
        residual: torch.Tensor = self.contract(self.dropout(inner))
        return mixed + residual

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Return the classifier's probabilities, (n, classes)."""
        return torch.softmax(features[:, self.channels :], dim=1)

    def synthesize(self, features: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Move each row of features (n, channels + classes) along the classifier weights of a random class."""
        weight, bias = self.classifier
        n = len(features)
        directions = weight[torch.from_numpy(rng.integers(0, len(weight), n))]
        logit_gain = torch.from_numpy(rng.uniform(*SYNTHETIC_LOGITS, (n, 1)).astype(np.float32))
        retained = torch.from_numpy(rng.uniform(*SYNTHETIC_RETAINED, (n, 1)).astype(np.float32))
        step = logit_gain * directions / directions.square().sum(dim=1, keepdim=True)
        channels = (retained * features[:, : self.channels] + step).clamp_min(0)
        return torch.cat([channels, channels @ weight.T + bias], dim=1)

    def tensors(self) -> dict[str, FloatArray]:
        """Return the head's tensors as the image folder stores them, standardisation folded into the first layer."""
        weight = self.expand.weight / self.deviation
        bias = self.expand.bias - weight @ self.mean
        tensors = {
            "class_vectors": self.vectors,
            "residual.expand.weight": weight,
            "residual.expand.bias": bias,
            "residual.contract.weight": self.contract.weight,
            "residual.contract.bias": self.contract.bias,
        }
        return {name: np.ascontiguousarray(tensor.detach().numpy(), np.float32) for name, tensor in tensors.items()}


class ProjectionHead(nn.Module):
    """Trains a ViT's linear projection further."""

    def __init__(self, weight: FloatArray) -> None:
        """Initialise the head to a projection, float32 (d, width)."""
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight).clone())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (n, width) to vectors (n, d)."""
        return features @ self.weight.T

    def tensors(self) -> dict[str, FloatArray]:
        """Return the head's tensors as the image folder stores them."""
        return {"visual_projection.weight": self.weight.detach().numpy().copy()}


class _TextMap(nn.Module):
    """Maps text vectors (n, d) linearly to unit vectors (n, d); initially the identity."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dimension))
        self.bias = nn.Parameter(torch.zeros(dimension))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return functional.normalize(vectors @ self.weight.T + self.bias, dim=1)


class _ClassLoss:
    """Computes the loss that preserves a classifier's knowledge, with a scale of its own."""

    def __init__(self, names: ClassNameRows, source: str, config: HeadConfig) -> None:
        self.scale = nn.Parameter(torch.tensor(3.0))
        self._names = names
        self._source = source
        self._config = config

    def __call__(
        self,
        head: ClassifierHead,
        features: torch.Tensor,
        images: torch.Tensor,
        texts: torch.Tensor,
        text_map: _TextMap,
        rng: np.random.Generator,
    ) -> torch.Tensor:
        """Compute the loss of a batch and of its synthetic features."""
        classes, rows = _draw_names(self._names, self._source, self._config.source_share, rng)
        synthetic = head.synthesize(features, rng)
        return _class_cross_entropy(
            head.probabilities(torch.cat([features, synthetic])),
            torch.cat([images, functional.normalize(head(synthetic), dim=1)]),
            text_map(texts[rows]),
            classes,
            self.scale.exp(),
        )


def align(
    head: ClassifierHead | ProjectionHead,
    sets: Sequence[CaptionedSet],
    texts: FloatArray,
    names: ClassNameRows,
    config: HeadConfig,
    *,
    source: str = "en",
    evaluate: HeadEvaluator | None = None,
    every: int = 250,
    progress: HeadProgressCallback | None = None,
) -> TrainedHeads:
    """Train the heads.

    :param head: the initial image head
    :param sets: pictures with captions
    :param texts: float32 (m, d), vectors of the text tower, indexed by the rows of ``sets`` and ``names``
    :param names: class names of the classifier; unused with a ProjectionHead
    :param config: hyperparameters
    :param source: the language whose class names are drawn with probability ``config.source_share``
    :param evaluate: measures the current heads
    :param every: steps between measurements
    :param progress: receives the progress after every step
    :return: the trained heads and the log
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    bank = torch.from_numpy(np.ascontiguousarray(texts))
    text_map = _TextMap(bank.shape[1])
    class_loss = _ClassLoss(names, source, config)
    scale = nn.Parameter(torch.tensor(3.0))
    optimiser = _optimiser(head, list(text_map.parameters()), [scale, class_loss.scale], config)
    rates = [group["lr"] for group in optimiser.param_groups]
    weights = np.array([captioned_set.weight for captioned_set in sets])
    features = [torch.from_numpy(captioned_set.features) for captioned_set in sets]
    log: list[dict[str, float]] = []
    for step in range(1, config.steps + 1):
        fraction = min(1.0, step / config.warmup) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * fraction
        chosen = int(rng.choice(len(sets), p=weights / weights.sum()))
        batch, rows = _batch(features[chosen], sets[chosen], config.batch, rng)
        images = functional.normalize(head(batch), dim=1)
        loss = _contrastive(images, text_map(bank[rows]), torch.from_numpy(rows), scale.exp())
        entry = {"step": step, "contrastive": loss.item()}
        if isinstance(head, ClassifierHead) and names and config.classes:
            preserved = class_loss(head, batch, images, bank, text_map, rng)
            entry["classes"] = preserved.item()
            loss = loss + config.classes * preserved
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % every == 0 or step == config.steps:
            if evaluate is not None:
                entry |= _evaluate(head, text_map, evaluate)
            log.append(entry)
        if progress is not None:
            progress(step, config.steps, entry)
    temperature = float(head.temperature.detach().exp()) if isinstance(head, ClassifierHead) else 1.0
    weight, bias = (parameter.detach().numpy() for parameter in (text_map.weight, text_map.bias))
    return TrainedHeads(head.tensors(), weight, bias, temperature, float(scale.detach().exp()), log)


def _evaluate(head: nn.Module, text_map: _TextMap, evaluate: HeadEvaluator) -> dict[str, float]:
    """Measure the current heads without dropout and gradients."""
    head.eval()
    with torch.no_grad():
        figures = evaluate(
            lambda features: functional.normalize(head(torch.from_numpy(features)), dim=1).numpy(),
            lambda vectors: text_map(torch.from_numpy(vectors)).numpy(),
        )
    head.train()
    return figures


def class_vectors(texts: FloatArray, names: ClassNameRows, source: str, others: float) -> FloatArray:
    """Compute a vector for each class: the weighted mean of its name in the source language and in the others.

    :param texts: float32 (m, d)
    :param names: the names by language
    :param source: the language that names every class
    :param others: weight of the mean over the other languages; the source language has weight 1
    :return: float32 (classes, d), centred over the classes
    """
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    rows = []
    for number, source_rows in sorted(names[source].items()):
        vector = unit[list(source_rows)].mean(axis=0)
        means = [unit[list(n[number])].mean(axis=0) for code, n in names.items() if code != source and number in n]
        rows.append((vector + others * np.mean(means, axis=0)) / (1 + others) if means else vector)
    stacked = np.stack(rows)
    centred: FloatArray = (stacked - stacked.mean(axis=0)).astype(np.float32)
    return centred


def captioned(
    name: str, features: Features, captions: Mapping[str, Mapping[str, Sequence[int]]], weight: float
) -> CaptionedSet:
    """Select the pictures that have captions.

    :param name: the name of the set
    :param features: features of its pictures
    :param captions: picture -> language -> rows of texts
    :param weight: the share of the steps
    :return: the set
    """
    kept = [i for i, picture in enumerate(features.names) if picture in captions]
    return CaptionedSet(name, features.values[kept], [captions[features.names[i]] for i in kept], weight)


def _optimiser(
    head: nn.Module, text: list[nn.Parameter], scales: list[nn.Parameter], config: HeadConfig
) -> torch.optim.AdamW:
    """Make AdamW with a rate for each kind of parameter; only the layers of the image head decay."""
    layers = dict(head.named_parameters())
    vectors = [layers.pop(name) for name in ("vectors",) if name in layers]
    scales = [*scales, *(layers.pop(name) for name in ("temperature",) if name in layers)]
    groups = [
        {"params": list(layers.values()), "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": vectors, "lr": config.class_rate, "weight_decay": 0.0},
        {"params": scales, "lr": config.scale_rate, "weight_decay": 0.0},
        {"params": text, "lr": config.text_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]])


def _batch(
    features: torch.Tensor, captioned_set: CaptionedSet, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Draw distinct pictures, each in a random view with a random text in a random language."""
    picked = rng.choice(len(captioned_set.texts), min(size, len(captioned_set.texts)), replace=False)
    views = rng.integers(0, features.shape[1], len(picked))
    rows = []
    for picture in picked:
        languages = captioned_set.texts[picture]
        candidates = languages[list(languages)[rng.integers(len(languages))]]
        rows.append(candidates[rng.integers(len(candidates))])
    return features[picked, views], np.array(rows, dtype=np.int64)


def _contrastive(images: torch.Tensor, texts: torch.Tensor, rows: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Compute the symmetric cross-entropy of image to text and text to image within the batch."""
    same = (rows[:, None] == rows[None, :]).float()
    targets = same / same.sum(dim=1, keepdim=True)
    scores = scale * images @ texts.T
    image_to_text = -(targets * scores.log_softmax(dim=1)).sum(dim=1).mean()
    text_to_image = -(targets * scores.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (image_to_text + text_to_image) / 2


def _draw_names(
    names: ClassNameRows, source: str, source_share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw a language; return the classes that it names, and the row of a random name of each."""
    others = [language for language in names if language != source]
    language = source if not others or rng.random() < source_share else others[rng.integers(len(others))]
    classes = sorted(names[language])
    rows = [names[language][number][rng.integers(len(names[language][number]))] for number in classes]
    return np.array(classes), np.array(rows)


def _class_cross_entropy(
    probabilities: torch.Tensor,
    images: torch.Tensor,
    texts: torch.Tensor,
    classes: NDArray[np.int64],
    scale: torch.Tensor,
) -> torch.Tensor:
    """Compute the cross-entropy between the classifier's probabilities and those of the cosines, over named classes.

    A picture is weighted by the total probability of the named classes, so a picture of anything else adds nothing.
    """
    named = probabilities[:, torch.from_numpy(classes)]
    weight = named.sum(dim=1)
    targets = named / weight[:, None].clamp_min(1e-6)
    log_probabilities = (scale * images @ texts.T).log_softmax(dim=1)
    return -((targets * log_probabilities).sum(dim=1) * weight).sum() / weight.sum()

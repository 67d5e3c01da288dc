"""Tying a frozen image encoder to a text space: locked-image tuning (Zhai et al. 2022) from a training-free start.

The image head is learned with a symmetric contrastive loss (Radford et al. 2021) over captions in any language; a text
that several pictures share counts as right for all of them. An encoder that has a classifier starts as ConSE (Norouzi
et al. 2013): its probabilities mix the text vectors of the class names. It keeps its knowledge by a second loss: the
cosines with the names of the classes, in a random language, shall give the classifier's own probabilities. Since few
classes occur in a collection, this is asked of painted pictures too: features of a picture, moved in the direction of a
class. A linear map of the text vectors may be learned too; it is folded into the text folder's last Dense layer.
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

Names = Mapping[str, Mapping[int, tuple[int, ...]]]
"""language -> class -> rows of the text vectors: the names that a language has for a class."""
Encode = Callable[[FloatArray], FloatArray]
Measure = Callable[[Encode, Encode], dict[str, float]]
"""Gets image features -> unit vectors and text vectors -> unit vectors; gives figures for the log."""
Show = Callable[[int, int, dict[str, float]], None]
"""Is told the step, how many there are, and the last entry of the log."""

PAINTED_LOGITS = 6.0, 16.0
"""How much a painted class gains in its logit: from hardly noticed to beyond doubt."""
PAINTED_OVER = 0.2, 1.0
"""The part of a picture's own features that stays when a class is painted on it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the heads are learned. ``text_rate`` 0 leaves the text vectors as they are.

    ``others`` is the weight of the other languages' names against the source's where the class vectors begin,
    ``source_share`` the part of the steps whose class names are the source's.
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
    """Pictures by their features, and by language the rows of their texts. ``weight`` is the share of the steps."""

    name: str
    features: FloatArray
    texts: Sequence[Mapping[str, Sequence[int]]]
    weight: float


@dataclass(frozen=True, slots=True)
class Aligned:
    """What was learned: the image head's tensors, the text map (d, d) and its shift (d,), and the scale of cosines."""

    image: dict[str, FloatArray]
    text_weight: FloatArray
    text_bias: FloatArray
    temperature: float
    scale: float
    log: list[dict[str, float]]


class ClassifierHead(nn.Module):
    """Class probabilities mix class vectors, and a small network of the pooled channels adds to them."""

    def __init__(
        self, start: FloatArray, weight: FloatArray, bias: FloatArray, features: FloatArray, settings: Settings
    ) -> None:
        """Start as the mix alone.

        :param start: float32 (classes, d)
        :param weight: float32 (classes, channels), the classifier's own, which gives logits from pooled channels
        :param bias: float32 (classes,), the classifier's own
        :param features: float32 (n, channels + classes), pooled channels and logits; their mean and deviation scale the
            channels
        :param settings: width and dropout
        """
        super().__init__()
        self.channels = channels = weight.shape[1]
        self.classifier = torch.from_numpy(weight), torch.from_numpy(bias)
        self.mean = torch.from_numpy(features[:, :channels].mean(axis=0))
        self.deviation = torch.from_numpy(features[:, :channels].std(axis=0, ddof=1) + 0.1)
        self.temperature = nn.Parameter(torch.tensor(math.log(settings.temperature)))
        self.vectors = nn.Parameter(torch.from_numpy(start).clone())
        self.expand = nn.Linear(channels, settings.width)
        self.contract = nn.Linear(settings.width, start.shape[1])
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, channels + classes) -> vectors (n, d)."""
        channels, logits = features[:, : self.channels], features[:, self.channels :]
        mixed = torch.softmax(logits / self.temperature.exp(), dim=1) @ self.vectors
        inner = functional.gelu(self.expand(self.dropout((channels - self.mean) / self.deviation)))
        added: torch.Tensor = self.contract(self.dropout(inner))
        return mixed + added

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """What the classifier itself says: (n, classes)."""
        return torch.softmax(features[:, self.channels :], dim=1)

    def paint(self, features: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Features (n, channels + classes) with a random class painted on each: a step along its weights."""
        weight, bias = self.classifier
        n = len(features)
        chosen = weight[torch.from_numpy(rng.integers(0, len(weight), n))]
        gained = torch.from_numpy(rng.uniform(*PAINTED_LOGITS, (n, 1)).astype(np.float32))
        kept = torch.from_numpy(rng.uniform(*PAINTED_OVER, (n, 1)).astype(np.float32))
        step = gained * chosen / chosen.square().sum(dim=1, keepdim=True)
        channels = (kept * features[:, : self.channels] + step).clamp_min(0)
        return torch.cat([channels, channels @ weight.T + bias], dim=1)

    def tensors(self) -> dict[str, FloatArray]:
        """The head as the image folder keeps it, the scaling of the channels folded into the first layer."""
        weight = self.expand.weight / self.deviation
        bias = self.expand.bias - weight @ self.mean
        found = {
            "class_vectors": self.vectors,
            "residual.expand.weight": weight,
            "residual.expand.bias": bias,
            "residual.contract.weight": self.contract.weight,
            "residual.contract.bias": self.contract.bias,
        }
        return {name: np.ascontiguousarray(tensor.detach().numpy(), np.float32) for name, tensor in found.items()}


class ProjectionHead(nn.Module):
    """A ViT's linear projection, which goes on learning from where it is."""

    def __init__(self, weight: FloatArray) -> None:
        """Start from a projection, float32 (d, width)."""
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight).clone())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, width) -> vectors (n, d)."""
        return features @ self.weight.T

    def tensors(self) -> dict[str, FloatArray]:
        """The head as the image folder keeps it."""
        return {"visual_projection.weight": self.weight.detach().numpy().copy()}


def align(
    head: ClassifierHead | ProjectionHead,
    sets: Sequence[CaptionedSet],
    texts: FloatArray,
    names: Names,
    settings: Settings,
    *,
    source: str = "en",
    measure: Measure | None = None,
    every: int = 250,
    show: Show | None = None,
) -> Aligned:
    """Learn the heads.

    :param head: the image head at its start
    :param sets: pictures with captions
    :param texts: float32 (m, d), the text tower's own vectors, which the rows of sets and names point into
    :param names: the names of the classifier's classes; unused with a ProjectionHead
    :param settings: how
    :param source: the language whose class names are taken more often than one in so many
    :param measure: measures the heads as they are
    :param every: steps between measurements
    :param show: is told where the learning is
    :return: what was learned
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    bank = torch.from_numpy(np.ascontiguousarray(texts))
    dimension = bank.shape[1]
    weight, bias = nn.Parameter(torch.eye(dimension)), nn.Parameter(torch.zeros(dimension))
    scale, class_scale = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(3.0))
    optimiser = _optimiser(head, [weight, bias], [scale, class_scale], settings)
    rates = [group["lr"] for group in optimiser.param_groups]
    weights = np.array([one.weight for one in sets])
    features = [torch.from_numpy(one.features) for one in sets]

    def text_unit(rows: torch.Tensor) -> torch.Tensor:
        return functional.normalize(rows @ weight.T + bias, dim=1)

    log: list[dict[str, float]] = []
    for step in range(1, settings.steps + 1):
        fraction = min(1.0, step / settings.warmup) * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * fraction
        chosen = int(rng.choice(len(sets), p=weights / weights.sum()))
        seen, rows = _batch(features[chosen], sets[chosen], settings.batch, rng)
        images = functional.normalize(head(seen), dim=1)
        loss = _contrastive(images, text_unit(bank[rows]), torch.from_numpy(rows), scale.exp())
        parts = {"step": step, "contrastive": loss.item()}
        if isinstance(head, ClassifierHead) and names and settings.classes:
            named = _draw_names(names, source, settings.source_share, rng)
            painted = head.paint(seen, rng)
            kept = _keep_classes(
                head.probabilities(torch.cat([seen, painted])),
                torch.cat([images, functional.normalize(head(painted), dim=1)]),
                text_unit(bank[named[1]]),
                named[0],
                class_scale.exp(),
            )
            parts["classes"] = kept.item()
            loss = loss + settings.classes * kept
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % every == 0 or step == settings.steps:
            if measure is not None:
                head.eval()
                with torch.no_grad():
                    parts |= measure(
                        lambda rows: functional.normalize(head(torch.from_numpy(rows)), dim=1).numpy(),
                        lambda rows: text_unit(torch.from_numpy(rows)).numpy(),
                    )
                head.train()
            log.append(parts)
        if show is not None:
            show(step, settings.steps, parts)
    temperature = float(head.temperature.detach().exp()) if isinstance(head, ClassifierHead) else 1.0
    return Aligned(
        head.tensors(), weight.detach().numpy(), bias.detach().numpy(), temperature, float(scale.detach().exp()), log
    )


def class_vectors(texts: FloatArray, names: Names, source: str, others: float) -> FloatArray:
    """A vector for each class: the mean of its name in the source language and, so many times, of the other languages.

    :param texts: float32 (m, d)
    :param names: the names by language
    :param source: the language that names every class
    :param others: weight of the mean over the other languages
    :return: float32 (classes, d), centred over the classes
    """
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    rows = []
    for number, own in sorted(names[source].items()):
        vector = unit[list(own)].mean(axis=0)
        means = [unit[list(n[number])].mean(axis=0) for code, n in names.items() if code != source and number in n]
        rows.append((vector + others * np.mean(means, axis=0)) / (1 + others) if means else vector)
    stacked = np.stack(rows)
    centred: FloatArray = (stacked - stacked.mean(axis=0)).astype(np.float32)
    return centred


def captioned(
    name: str, features: Features, captions: Mapping[str, Mapping[str, Sequence[int]]], weight: float
) -> CaptionedSet:
    """A set of those pictures that have captions.

    :param name: what it is called
    :param features: of its pictures
    :param captions: picture -> language -> rows of texts
    :param weight: its share of the steps
    :return: the set
    """
    kept = [i for i, picture in enumerate(features.names) if picture in captions]
    return CaptionedSet(name, features.values[kept], [captions[features.names[i]] for i in kept], weight)


def _optimiser(
    head: nn.Module, text: list[nn.Parameter], scales: list[nn.Parameter], settings: Settings
) -> torch.optim.AdamW:
    """AdamW with a rate for each kind of parameter; only the layers decay."""
    own = dict(head.named_parameters())
    slow = [own.pop(name) for name in ("vectors",) if name in own]
    scales = [*scales, *(own.pop(name) for name in ("temperature",) if name in own)]
    groups = [
        {"params": list(own.values()), "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
        {"params": slow, "lr": settings.class_rate, "weight_decay": 0.0},
        {"params": scales, "lr": settings.scale_rate, "weight_decay": 0.0},
        {"params": text, "lr": settings.text_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]])


def _batch(
    features: torch.Tensor, one: CaptionedSet, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Different pictures, each in a random view with a random text in a random language."""
    picked = rng.choice(len(one.texts), min(size, len(one.texts)), replace=False)
    views = rng.integers(0, features.shape[1], len(picked))
    rows = []
    for picture in picked:
        languages = one.texts[picture]
        own = languages[list(languages)[rng.integers(len(languages))]]
        rows.append(own[rng.integers(len(own))])
    return features[picked, views], np.array(rows, dtype=np.int64)


def _contrastive(images: torch.Tensor, texts: torch.Tensor, rows: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The symmetric cross-entropy of finding a picture's text and a text's picture among those of the batch."""
    same = (rows[:, None] == rows[None, :]).float()
    wanted = same / same.sum(dim=1, keepdim=True)
    scores = scale * images @ texts.T
    there = -(wanted * scores.log_softmax(dim=1)).sum(dim=1).mean()
    back = -(wanted * scores.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (there + back) / 2


def _draw_names(
    names: Names, source: str, source_share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The classes that a random language names, and the row of one name of each."""
    others = [language for language in names if language != source]
    language = source if not others or rng.random() < source_share else others[rng.integers(len(others))]
    classes = sorted(names[language])
    rows = [names[language][number][rng.integers(len(names[language][number]))] for number in classes]
    return np.array(classes), np.array(rows)


def _keep_classes(
    probabilities: torch.Tensor,
    images: torch.Tensor,
    texts: torch.Tensor,
    classes: NDArray[np.int64],
    scale: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy between the classifier's probabilities and those of the cosines, over the classes that are named.

    A picture counts by how probable the named classes are: where it shows something else, it teaches nothing here.
    """
    known = probabilities[:, torch.from_numpy(classes)]
    weight = known.sum(dim=1)
    wanted = known / weight[:, None].clamp_min(1e-6)
    found = (scale * images @ texts.T).log_softmax(dim=1)
    return -((wanted * found).sum(dim=1) * weight).sum() / weight.sum()

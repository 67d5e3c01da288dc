"""Text -> picture retrieval by language: recall@k and mean reciprocal rank.

Every caption is a query over all pictures; its own picture is the one right answer. Cosine of unit rows, always.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError, ImageError
from babelclip.evaluation.captions import Caption
from babelclip.model import Model
from babelclip.vectors import FloatArray

CUTS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    """How well one language finds pictures; recalls and the mean reciprocal rank are in 0..1."""

    language: str
    queries: int
    recall: dict[int, float]
    mean_reciprocal_rank: float


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """The scores by language, the number of pictures, and the pictures that could not be read (name, reason)."""

    pictures: int
    scores: tuple[RetrievalScore, ...]
    failed: tuple[tuple[str, str], ...]

    def mean(self, languages: Sequence[str]) -> RetrievalScore:
        """The plain mean over those of some languages that are here.

        :param languages: codes
        :return: the mean; its language is "mean of N"
        :raises DataError: if none of them is here
        """
        chosen = [score for score in self.scores if score.language in languages]
        if not chosen:
            raise DataError("no caption is in any of the languages asked for")
        return RetrievalScore(
            language=f"mean of {len(chosen)}",
            queries=sum(score.queries for score in chosen),
            recall={cut: float(np.mean([score.recall[cut] for score in chosen])) for cut in CUTS},
            mean_reciprocal_rank=float(np.mean([score.mean_reciprocal_rank for score in chosen])),
        )


def ranks(queries: FloatArray, pictures: FloatArray, right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of the right picture for every query, from 1; one with the same score as others comes after them.

    :param queries: float32 (m, d), unit rows
    :param pictures: float32 (n, d), unit rows
    :param right: int64 (m,) row of the right picture
    :return: int64 (m,)
    """
    scores = queries @ pictures.T
    own = np.take_along_axis(scores, right[:, None], axis=1)
    placed: NDArray[np.int64] = (scores >= own).sum(axis=1)
    return placed


def evaluate_retrieval(
    model: Model,
    pictures: Iterable[tuple[str, bytes]],
    captions: Sequence[Caption],
    *,
    progress: Callable[[str], None] | None = None,
) -> RetrievalReport:
    """Measure text -> picture retrieval in every language that has captions.

    :param model: the model
    :param pictures: names and bytes of files
    :param captions: queries; those whose picture is not here are left out
    :param progress: is told what was finished: a language's code
    :return: the scores, languages in order of their codes
    :raises DataError: if no caption belongs to a picture
    """
    names: deque[str] = deque()
    row_of: dict[str, int] = {}
    vectors: list[FloatArray] = []
    failed: list[tuple[str, str]] = []

    def contents() -> Iterable[bytes]:
        for name, content in pictures:
            names.append(name)
            yield content

    for _, vector in model.stream_images(contents()):
        name = names.popleft()
        if isinstance(vector, ImageError):
            failed.append((name, str(vector)))
        else:
            row_of[name] = len(vectors)
            vectors.append(vector)
    by_language: dict[str, list[Caption]] = defaultdict(list)
    for caption in captions:
        if caption.image in row_of:
            by_language[caption.language].append(caption)
    if not by_language:
        raise DataError("no caption names a picture that is here")
    scores = []
    for language, rows in sorted(by_language.items()):
        queries = model.encode_text([caption.text for caption in rows])
        right = np.array([row_of[caption.image] for caption in rows], dtype=np.int64)
        scores.append(_score(language, ranks(queries, np.stack(vectors), right)))
        if progress is not None:
            progress(language)
    return RetrievalReport(len(vectors), tuple(scores), tuple(failed))


def _score(language: str, placed: NDArray[np.int64]) -> RetrievalScore:
    """The figures of one language from the places of its right pictures."""
    return RetrievalScore(
        language=language,
        queries=len(placed),
        recall={cut: float((placed <= cut).mean()) for cut in CUTS},
        mean_reciprocal_rank=float((1 / placed).mean()),
    )

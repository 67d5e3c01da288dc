"""Retrieval by language, text to picture and picture to text: recall@k and mean reciprocal rank.

Text to picture: every caption is a query over all pictures, and its picture is the only correct answer. Picture to
text: every picture that has captions in the language is a query over all captions of the language, and each of its
captions is correct. The score is the cosine of unit rows.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError, ImageError
from babelclip.evaluation.captions import Caption, match_captions
from babelclip.evaluation.scores import LanguageScore, Report, TextEncoder, figures
from babelclip.models.model import Model
from babelclip.vectors import FloatArray

CUTS = (1, 5, 10)
LanguageCallback = Callable[[str], None]
"""Receives the code of each measured language."""


def encode_pictures(
    model: Model, pictures: Iterable[tuple[str, bytes]]
) -> tuple[list[str], FloatArray, list[tuple[str, str]]]:
    """Embed named pictures.

    :param model: the model
    :param pictures: names and bytes of files
    :return: names of the readable pictures, float32 (n, d) unit rows, and (name, reason) of the others
    """
    pending: dict[int, str] = {}

    def contents() -> Iterator[tuple[int, bytes]]:
        for number, (name, content) in enumerate(pictures):
            pending[number] = name
            yield number, content

    names: list[str] = []
    vectors: list[FloatArray] = []
    failed: list[tuple[str, str]] = []
    for number, vector in model.stream_images(contents()):
        name = pending.pop(number, None)
        if name is None:
            continue
        if isinstance(vector, ImageError):
            failed.append((name, str(vector)))
        else:
            names.append(name)
            vectors.append(vector)
    failed += [(name, "the encoder gave no vector for it") for name in pending.values()]
    stacked = np.stack(vectors) if vectors else np.empty((0, model.dimension), dtype=np.float32)
    return names, stacked, failed


def best_ranks(scores: FloatArray, correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Compute the rank of the best correct answer to each query, from 1; wrong answers of equal score rank before it.

    :param scores: float32 (queries, answers)
    :param correct: bool (queries, answers), with at least one correct answer for each query
    :return: int64 (queries,)
    """
    best = np.where(correct, scores, -np.inf).max(axis=1, keepdims=True)
    ranks: NDArray[np.int64] = 1 + ((scores >= best) & ~correct).sum(axis=1)
    return ranks


def _samples(direction: str, ranks: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    """Compute the contribution of each query to the figures of a direction."""
    recalls: dict[str, NDArray[np.generic]] = {f"{direction} R@{cut}": ranks <= cut for cut in CUTS}
    return {**recalls, f"{direction} MRR": 1 / ranks}


def evaluate_retrieval(
    model: Model,
    pictures: Iterable[tuple[str, bytes]],
    captions: Sequence[Caption],
    *,
    progress: LanguageCallback | None = None,
) -> Report:
    """Measure retrieval in both directions in every language that has captions.

    :param model: the model
    :param pictures: names and bytes of files
    :param captions: captions; those of missing pictures are ignored
    :param progress: receives the code of each measured language
    :return: figures ``T>I`` (text to picture) and ``I>T`` (picture to text), ordered by language code
    :raises DataError: if no caption belongs to a picture
    """
    names, vectors, failed = encode_pictures(model, pictures)
    unreadable = {name for name, _ in failed}
    there = match_captions(captions, [*names, *unreadable])
    readable = [caption for caption in there if caption.image not in unreadable]
    report = score_retrieval(model, names, vectors, readable, progress=progress)
    without_picture = len(captions) - len(there)
    notes = report.notes
    if without_picture:
        notes = (f"{without_picture} of {len(captions)} captions have no picture here and were not counted", *notes)
    return replace(report, failed=tuple(failed), notes=notes)


def score_retrieval(
    encoder: TextEncoder,
    names: Sequence[str],
    vectors: FloatArray,
    captions: Sequence[Caption],
    *,
    progress: LanguageCallback | None = None,
) -> Report:
    """Measure retrieval of embedded pictures; see evaluate_retrieval.

    :param encoder: the encoder of the captions
    :param names: names of the pictures
    :param vectors: float32 (n, d), unit rows
    :param captions: captions; those of missing pictures are ignored
    :param progress: receives the code of each measured language
    :return: the report of evaluate_retrieval
    :raises DataError: if no caption belongs to a picture, two pictures have one name, or a caption names two pictures
    """
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) < len(names):
        (name, count), *_ = Counter(names).most_common(1)
        raise DataError(f"{count} pictures are called {name}; names must differ")
    by_language: dict[str, list[Caption]] = defaultdict(list)
    for caption in match_captions(captions, names):
        by_language[caption.language].append(caption)
    if not by_language:
        raise DataError(
            "no caption names a picture of the set; compare the first column of the captions with the names of "
            "the pictures"
        )
    scores = []
    for language, rows in sorted(by_language.items()):
        cosines = encoder.encode_text([caption.text for caption in rows]) @ vectors.T
        correct = np.array([row_of[caption.image] for caption in rows])[:, None] == np.arange(len(names))
        has_caption = correct.any(axis=0)
        by_name = figures(_samples("T>I", best_ranks(cosines, correct)))
        by_name |= figures(_samples("I>T", best_ranks(cosines.T[has_caption], correct.T[has_caption])))
        scores.append(LanguageScore(language, len(rows), by_name))
        if progress is not None:
            progress(language)
    described = {caption.image for rows in by_language.values() for caption in rows}
    plain = len(names) - len(described)
    notes = (f"{plain} of {len(names)} pictures have no caption; they are wrong answers only",) if plain else ()
    return Report("Retrieval", f"{len(names)} pictures", tuple(scores), notes=notes)

"""Measures what confidence tells, and what correcting hubs brings; writes docs/benchmarks/confidence.md.

    python tools/measure_confidence.py --data ../shared/data

Collections are made of the pictures of Tux Paint from which half of all kinds of things (birds, tools, ...) are taken,
and everything is asked for by its name. A query whose pictures are there must be told from one whose pictures are not.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.evaluation.captions import Caption, read_captions, read_pictures
from babelclip.evaluation.scores import Figure, bootstrap
from babelclip.models.model import Model
from babelclip.search import confidence
from babelclip.text.languages import BY_CODE, CODES
from babelclip.vectors import FloatArray
from babelclip.zeroshot.background_vocabulary import background_vocabulary
from babelclip.zeroshot.calibration import confidence_error
from mini_pairs import is_held_out

ROOT = Path(__file__).parent.parent
NO_OBJECTS = ("symbols",)
"""Groups of Tux Paint that show letters, chess pieces and road signs rather than things."""
SPLITS = 10
HUB_LANGUAGES = ("en", "de", "fr", "ru", "ar", "zh-cn")
HUB_QUERIES, HUB_BANK = 800, 400
"""Captions a language that are asked, and that are the bank; two to one where there are fewer."""
FIT_ROUNDS = 30
PRIOR = 1e-3
EXPLAINED = """
Written by `tools/measure_confidence.py`. In ten random splits, half of the kinds of things (or half of the things) of
Tux Paint are removed from its images; letters and symbols are always removed. Every thing, present or removed, is then
searched by its name in the language. AUC is the probability that a query whose images are present gets a higher
confidence than one whose images were removed, with a 95% bootstrap interval over queries and splits; the error is the
expected calibration error, 15 bins. If only the thing itself is removed, similar things remain, such as a lioness for
a lion, so the AUC is lower. `+ photos`: 2,375 photos are in the collection too. "If named" is the AUC with the names of
all things in place of the background vocabulary: an upper bound for any list of words. `mini` was trained on the images
of two thirds of the concepts, so the rest is shown separately. The features and the three weights were chosen on these
collections, among some dozens of variants that differ by a hundredth or two, so another collection may give slightly
less.
"""


log = logging.getLogger("measure_confidence")


@dataclass(frozen=True, slots=True)
class Things:
    """Pictures of things: float32 (n, d) unit rows, the thing of each, and the kind of each; the things of which the
    model was trained on no picture.
    """

    vectors: FloatArray
    things: NDArray[np.int64]
    kinds: NDArray[np.str_]
    unseen: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trial:
    """Queries against collections: the thing asked for (n,), features float32 (n, 3) in deviations, probability (n,),
    and whether it is there.
    """

    asked: NDArray[np.int64]
    features: FloatArray
    sure: FloatArray
    present: NDArray[np.bool_]

    def only(self, things: NDArray[np.int64]) -> "Trial":
        """The queries for some things."""
        rows = np.isin(self.asked, things)
        return Trial(self.asked[rows], self.features[rows], self.sure[rows], self.present[rows])


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="Measure what confidence tells.")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    data: Path = parser.parse_args().data
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    model = Model.load()
    things, names = read_things(model, data)
    photos = np.concatenate([encode_set(model, data, name)[1] for name in ("flickr8k", "photos-vi")])
    none = photos[:0]
    rows = []
    for code in CODES:
        queries = queries_of(model, names, code)
        if len(queries[0]) < 50:
            continue
        words = model.encode_text(list(background_vocabulary(code)))
        cells = [
            trial(things, queries, words, extra, by_kind=by_kind)
            for extra, by_kind in ((none, True), (photos, True), (none, False))
        ]
        rows.append((code, len(queries[0]), cells))
        log.info("%s %s", code, " ".join(f"{auc(cell):.3f}" for cell in cells))
    english = next(cells for code, _, cells in rows if code == "en")
    log.info("weights fitted on English (cosine, inverted, near words, bias): %s", fitted(english[:2]))
    page = ["# Quality of confidence", f"Model {model.name} ({model.fingerprint[:12]}). " + " ".join(EXPLAINED.split())]
    own = queries_of(model, names, "en")
    named = trial(things, own, own[1], none, by_kind=True)
    page += [bar(english[0], named, english[0].only(things.unseen)), table(rows), hub_section(model, data)]
    (ROOT / "docs/benchmarks/confidence.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")


def encode_set(model: Model, data: Path, name: str) -> tuple[list[str], FloatArray]:
    """The pictures of a set.

    :param model: what encodes them
    :param data: the data folder
    :param name: of the set
    :return: names and float32 (n, d) unit rows
    """
    pictures = list(read_pictures(data / f"images/{name}.tar"))
    return [picture for picture, _ in pictures], model.encode_images([content for _, content in pictures])


def read_things(model: Model, data: Path) -> tuple[Things, dict[tuple[str, int], str]]:
    """Tux Paint's things: pictures with one English name are one thing.

    :param model: what encodes the pictures
    :param data: the data folder
    :return: the things, and the name of each by language and number
    """
    pictures, vectors = encode_set(model, data, "tuxpaint")
    captions: list[Caption] = read_captions(data / "captions/tuxpaint.tsv.gz")
    english = {caption.image: caption.text for caption in captions if caption.language == "en"}
    kept = [i for i, name in enumerate(pictures) if not name.startswith(NO_OBJECTS) and name in english]
    number = {text: i for i, text in enumerate(sorted({english[pictures[i]] for i in kept}))}
    thing_of = {pictures[i]: number[english[pictures[i]]] for i in kept}
    names: dict[tuple[str, int], str] = {}
    for caption in captions:
        if caption.image in thing_of:
            names.setdefault((caption.language, thing_of[caption.image]), caption.text)
    kinds = ["__".join(pictures[i].split("__")[:-1][:2]) for i in kept]
    seen = {thing_of[pictures[i]] for i in kept if not is_held_out(pictures[i])}
    unseen = np.array(sorted(set(number.values()) - seen))
    return Things(vectors[kept], np.array([thing_of[pictures[i]] for i in kept]), np.array(kinds), unseen), names


def queries_of(model: Model, names: dict[tuple[str, int], str], code: str) -> tuple[NDArray[np.int64], FloatArray]:
    """The things that have a name in a language, and the names' vectors.

    :param model: what encodes them
    :param names: by language and thing
    :param code: the language
    :return: int64 (n,) things and float32 (n, d) unit rows
    """
    own = [(thing, text) for (language, thing), text in names.items() if language == code]
    return np.array([thing for thing, _ in own], dtype=np.int64), model.encode_text([text for _, text in own])


def trial(
    things: Things,
    queries: tuple[NDArray[np.int64], FloatArray],
    words: FloatArray,
    extra: FloatArray,
    *,
    by_kind: bool,
) -> Trial:
    """Ask for everything in collections that lack half of it.

    :param things: the pictures
    :param queries: what is asked for
    :param words: float32 (n, d), the language's everyday words
    :param extra: float32 (n, d), pictures that are in every collection
    :param by_kind: take out whole kinds, else single things
    :return: all queries of all splits
    """
    features, sure, present = [], [], []
    pictures = np.concatenate([things.vectors, extra])
    hubs = confidence.hubness(pictures, words, confidence.SHARPNESS)
    of_words, of_queries = words @ pictures.T, queries[1] @ pictures.T
    for kept in halves(things.kinds if by_kind else things.things.astype(np.str_)):
        rows = np.concatenate([np.flatnonzero(kept), np.arange(len(things.vectors), len(pictures))])
        evidence = confidence.measure_background(words, nearest_among(of_words[:, rows], hubs[rows]))
        found = nearest_among(of_queries[:, rows], hubs[rows])
        about = queries[1], found.cosines[:, :1], found, evidence
        features.append(confidence.features(*about)[:, 0])
        sure.append(confidence.confidences(*about)[:, 0])
        present.append(np.isin(queries[0], things.things[kept]))
    asked = np.tile(queries[0], len(present))
    return Trial(asked, np.concatenate(features), np.concatenate(sure), np.concatenate(present))


def nearest_among(cosines: FloatArray, hubs: FloatArray) -> confidence.NearestPhotos:
    """The nearest photos of texts in a collection.

    :param cosines: float32 (m, photos), of all
    :param hubs: float32 (photos,), how well each fits the everyday words
    :return: the nearest of each text
    """
    places = np.argpartition(-cosines, confidence.NEAREST, axis=1)[:, : confidence.NEAREST]
    best = np.take_along_axis(cosines, places, axis=1)
    order = np.argsort(-best, axis=1)
    return confidence.NearestPhotos(
        np.take_along_axis(best, order, axis=1), hubs[np.take_along_axis(places, order, axis=1)]
    )


def halves(labels: NDArray[np.str_]) -> Iterator[NDArray[np.bool_]]:
    """Half of the labels, chosen with a seed, several times.

    :param labels: (n,)
    :yield: bool (n,), which rows have a label that is chosen
    """
    every = np.unique(labels)
    for seed in range(SPLITS):
        yield np.isin(labels, np.random.default_rng(seed).permutation(every)[: len(every) // 2])


def auc(cell: Trial, rows: NDArray[np.int64] | None = None) -> float:
    """The chance that a query that is there is surer than one that is not.

    :param cell: queries
    :param rows: of them; None for all
    :return: in 0..1
    """
    sure, present = (cell.sure, cell.present) if rows is None else (cell.sure[rows], cell.present[rows])
    ranks = np.empty(len(sure))
    ranks[np.argsort(sure, kind="stable")] = np.arange(1, len(sure) + 1)
    there = int(present.sum())
    return float((ranks[present].sum() - there * (there + 1) / 2) / (there * (len(sure) - there)))


def fitted(cells: Sequence[Trial]) -> list[float]:
    """The logistic function that tells best (Newton's method).

    :param cells: queries
    :return: the three weights, and the bias
    """
    inputs = np.concatenate([np.c_[cell.features, np.ones(len(cell.features))] for cell in cells])
    truth = np.concatenate([cell.present for cell in cells])
    weights = np.zeros(inputs.shape[1])
    for _ in range(FIT_ROUNDS):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (truth - likely) - PRIOR * weights
        curve = (inputs.T * (likely * (1 - likely))) @ inputs + PRIOR * np.eye(len(weights))
        weights = weights + np.linalg.solve(curve, slope)
    return [round(float(weight), 2) for weight in weights]


def interval(figure: Figure) -> str:
    """A figure with its interval, for a table."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def bar(english: Trial, named: Trial, unseen: Trial) -> str:
    """The bar and what was measured, what it would be with all names as the words, and of what was never trained on."""
    rows = [
        ("AUC on Tux Paint in English, a kind is removed", "at least 0.85", english),
        ("the same, of things that the model was not trained on", "", unseen),
        ("the same, if named", "", named),
    ]
    lines = ["| measure | threshold | measured |", "|---|---|---|"]
    for name, asked, cell in rows:
        lines.append(f"| {name} | {asked} | {interval(bootstrap(partial(auc, cell), len(cell.sure)))} |")
    return "\n".join(lines)


def table(rows: Sequence[tuple[str, int, Sequence[Trial]]]) -> str:
    """Figures by language."""
    lines = [
        "| language | queries | AUC, kind removed | error | AUC, kind removed, + photos | error | AUC, thing removed "
        "| error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for code, count, cells in rows:
        own = " | ".join(f"{auc(cell):.3f} | {confidence_error(cell.sure, cell.present):.3f}" for cell in cells)
        lines.append(f"| {BY_CODE[code].name} | {count} | {own} |")
    return "\n".join(lines)


def hub_section(model: Model, data: Path) -> str:
    """What it brings to count photos less that fit many texts, on Flickr8k's captions."""
    pictures, vectors = encode_set(model, data, "flickr8k")
    place = {name: i for i, name in enumerate(pictures)}
    captions = read_captions(data / "captions/flickr8k.tsv.gz")
    lines = [
        "## Hubness",
        "Recall@1 and recall@10 of images by captions of Flickr8k (875 images, up to 800 captions per language): "
        f"plain; with `--queries-like` of {HUB_BANK} other captions in the language; with the background "
        "vocabulary instead.",
        "| language | plain | other captions | background vocabulary |\n|---|---|---|---|",
    ]
    for code in HUB_LANGUAGES:
        own = [c for c in captions if c.language == code and c.image in place]
        own = [own[i] for i in np.random.default_rng(0).permutation(len(own))[: HUB_QUERIES + HUB_BANK]]
        texts = model.encode_text([caption.text for caption in own])
        asked = min(HUB_QUERIES, len(own) * 2 // 3)
        truth = np.array([place[caption.image] for caption in own[:asked]])
        cosines = texts[:asked] @ vectors.T
        scores = [cosines]
        for bank in (texts[asked:], model.encode_text(list(background_vocabulary(code)))):
            scores.append(confidence.HUB_SHARPNESS * cosines - confidence.hubness(vectors, bank))
        lines.append(f"| {BY_CODE[code].name} | " + " | ".join(recalls(score, truth) for score in scores) + " |")
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])


def recalls(scores: FloatArray, truth: NDArray[np.int64]) -> str:
    """Recall@1 and @10, for a table."""
    ahead = (scores > scores[np.arange(len(truth)), truth][:, None]).sum(axis=1)
    return f"{(ahead < 1).mean():.3f}, {(ahead < 10).mean():.3f}"


if __name__ == "__main__":
    main()

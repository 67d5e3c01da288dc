"""Reads the training text and the class names that ``mini`` is fitted on; never the evaluation sets."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from babelclip.text.languages import CODES

__all__ = [
    "CAPTION_SETS",
    "CORPORA",
    "ClassNames",
    "read_class_names",
    "read_noun_translations",
    "read_texts",
    "sample_texts",
]

# Open licences only, so that the model carries no restriction to research.
CORPORA = (
    "emoji-cldr",
    "massive",
    "ntrex",
    "tatoeba-manythings",
    "tico19",
    "wordnet-nouns",
)
# Captions of training sets under open licences; without tuxpaint, on which quality is reported.
CAPTION_SETS = ("emoji",)
# Rows a language gives to the sample that the Dense layer is fitted on: mostly short nouns, as searches are.
SAMPLE_ROWS = {
    "wordnet-nouns": 150,
    "emoji-cldr": 75,
    "massive": 25,
    "tatoeba-manythings": 60,
    "ntrex": 15,
}
# Rows that are read of a corpus, where not all: wordnet-nouns lists concrete things first.
CORPUS_ROWS = {"wordnet-nouns": 8000}


@dataclass(frozen=True)
class ClassNames:
    """The names of one ImageNet class: the English one, and those of open wordnets by language."""

    english: str
    translations: dict[str, tuple[str, ...]]


def read_texts(data: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Go through all training text in the listed languages.

    :param data: the data folder.
    :yields: (language, source, distinct texts in file order), one corpus or caption set at a time.
    """
    english: dict[str, dict[str, None]] = defaultdict(dict)
    for corpus in CORPORA:
        for language in CODES:
            pairs = _read_pairs(data, corpus, language)[: CORPUS_ROWS.get(corpus)]
            english[corpus].update(dict.fromkeys(source for source, _ in pairs))
            if pairs:
                yield language, corpus, list(dict.fromkeys(text for _, text in pairs))
    for corpus, texts in english.items():
        yield "en", corpus, list(texts)
    for name in CAPTION_SETS:
        for language, texts in _read_captions(data, name).items():
            yield language, name, list(texts)


def sample_texts(data: Path, seed: int) -> list[str]:
    """Draw the sample that the Dense layer is fitted on.

    :param data: the data folder.
    :param seed: of the draw.
    :return: distinct sorted texts, both sides of the drawn pairs.
    """
    rng = np.random.default_rng(seed)
    texts: set[str] = set()
    for language in CODES:
        for corpus, count in SAMPLE_ROWS.items():
            pairs = _read_pairs(data, corpus, language)[: CORPUS_ROWS.get(corpus)]
            drawn = rng.choice(len(pairs), min(count, len(pairs)), replace=False)
            texts.update(text for index in drawn for text in pairs[index])
    return sorted(texts)


def read_class_names(data: Path) -> list[ClassNames]:
    """Read the names of the 1,000 ImageNet classes in the order of the classifier.

    :param data: the data folder.
    :return: one entry a class; translations are in listed languages other than English.
    """
    translations: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in _read_table(data / "labels" / "imagenet_wordnet.tsv.gz"):
        if row["lang"] in CODES and row["lang"] != "en":
            translations[int(row["index"])][row["lang"]].append(row["name"])
    with (data / "labels" / "imagenet1k.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        ClassNames(row["clip_name"], {language: tuple(names) for language, names in translations[index].items()})
        for index, row in enumerate(rows)
    ]


def read_noun_translations(data: Path, nouns: frozenset[str], limit: int) -> dict[str, ClassNames]:
    """Look English nouns up in the parallel noun lists.

    :param data: the data folder.
    :param nouns: English lemmas.
    :param limit: how many translations a language may give, in file order.
    :return: lemma -> its names; a lemma that no list has comes without translations.
    """
    found: dict[str, dict[str, list[str]]] = {noun: defaultdict(list) for noun in sorted(nouns)}
    for language in CODES:
        for source, text in _read_pairs(data, "wordnet-nouns", language):
            if source in nouns and len(found[source][language]) < limit:
                found[source][language].append(text)
    return {
        noun: ClassNames(noun, {language: tuple(names) for language, names in by_language.items() if names})
        for noun, by_language in found.items()
    }


def _read_pairs(data: Path, corpus: str, language: str) -> list[tuple[str, str]]:
    """Read (English, translation) rows; an absent file is an empty list, as not every corpus has every language."""
    path = data / "text" / corpus / f"{language}.tsv.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [(row[0], row[1]) for row in rows]


def _read_captions(data: Path, name: str) -> dict[str, dict[str, None]]:
    """Read the captions of a training set by language; of flickr8k only the split ``train``."""
    splits_path = data / "captions" / f"{name}-splits.tsv"
    splits: dict[str, str] = {}
    if splits_path.exists():
        with splits_path.open(encoding="utf-8", newline="") as file:
            splits = {row["image"]: row["split"] for row in csv.DictReader(file, delimiter="\t")}
    captions: dict[str, dict[str, None]] = defaultdict(dict)
    for row in _read_table(data / "captions" / f"{name}.tsv.gz"):
        if row["lang"] in CODES and splits.get(row["image"], "train") == "train":
            captions[row["lang"]][row["caption"]] = None
    return captions


def _read_table(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        header = next(file).rstrip("\n").split("\t")
        for line in file:
            yield dict(zip(header, line.rstrip("\n").split("\t"), strict=False))

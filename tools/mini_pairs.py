"""Writes the parallel text of ``mini``'s distillation that is not there as pairs: class names and captions.

    python tools/mini_pairs.py --data ../shared/data --out PAIRS

PAIRS/names/LANG.tsv holds the names of the ImageNet classes, PAIRS/captions/LANG.tsv the captions of Tux Paint, and
PAIRS/photos/LANG.tsv those of flickr8k (not for a model under open licences alone), each with an English caption of the
same picture. PAIRS/held_out.txt names the
pictures that nothing is trained on: a third of the Tux Paint stamps by their concept, a third of the emoji by theirs,
and the splits dev and other of flickr8k. PAIRS/classes.tsv holds the class names for ``babelclip align``.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from babelclip.evaluation.captions import read_captions
from babelclip.text.languages import CODES
from training_text import read_class_names

HELD_OUT_PART = 1 / 3
LONGEST = 250
"""Characters of a text; longer ones are story pages."""
SPLIT_SETS = ("tuxpaint", "emoji", "storybook")


def main() -> None:
    """Write the files from the command line's arguments."""
    parser = argparse.ArgumentParser(description="Write the pairs and the held-out pictures of mini's training.")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args()
    write(arguments.data, arguments.out)


def write(data: Path, out: Path) -> None:
    """Write the pairs, the class names and the held-out pictures.

    :param data: the data folder.
    :param out: the folder to write.
    """
    out.mkdir(parents=True, exist_ok=True)
    held = held_out(data)
    (out / "held_out.txt").write_text("".join(f"{name}\n" for name in sorted(held)), encoding="utf-8")
    names: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with (out / "classes.tsv").open("w", encoding="utf-8") as file:
        file.write("index\tlang\tname\n")
        for index, classes in enumerate(read_class_names(data)):
            file.write(f"{index}\ten\t{classes.english}\n")
            for language, translations in classes.translations.items():
                for name in translations:
                    file.write(f"{index}\t{language}\t{name}\n")
                    names[language].append((classes.english, name))
    _write_pairs(out / "names", names)
    for folder, source in (("captions", "tuxpaint"), ("photos", "flickr8k")):
        _write_pairs(out / folder, caption_pairs(data / "captions" / f"{source}.tsv.gz", held))


def concept(picture: str) -> str:
    """What a picture shows, by its name: stamps, emoji and pages of one concept are held out together.

    A stamp's concept is the first word of its file; an emoji's its code points, whatever the style; a story's page
    belongs to its story.

    :param picture: such as ``animals__birds__crow-2``, ``twitter-1f600`` or ``0291-03``.
    :return: the concept.
    """
    if "__" in picture:
        return re.split(r"[_\-\d.]", picture.split("__")[-1].lower())[0]
    head, _, rest = picture.partition("-")
    return head if head.isdigit() else rest


def is_held_out(picture: str) -> bool:
    """Say whether a picture's concept is among the third that nothing is trained on.

    :param picture: its name.
    :return: the same in every run.
    """
    place = int(sha256(concept(picture).encode()).hexdigest(), 16) % 10_000
    return place < HELD_OUT_PART * 10_000


def held_out(data: Path) -> set[str]:
    """List the pictures that nothing is trained on.

    :param data: the data folder.
    :return: their names.
    """
    held = {c.image for s in SPLIT_SETS for c in read_captions(data / f"captions/{s}.tsv.gz") if is_held_out(c.image)}
    with (data / "captions/flickr8k-splits.tsv").open(encoding="utf-8", newline="") as file:
        held |= {row["image"] for row in csv.DictReader(file, delimiter="\t") if row["split"] != "train"}
    return held


def caption_pairs(path: Path, held: set[str]) -> dict[str, list[tuple[str, str]]]:
    """Pair a picture's English caption with those in other languages.

    :param path: a caption table.
    :param held: pictures that are left out.
    :return: language -> (English, translation).
    """
    captions = [c for c in read_captions(path) if c.image not in held and len(c.text) <= LONGEST]
    english = {c.image: c.text for c in captions if c.language == "en"}
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for caption in captions:
        if caption.language in CODES and caption.language != "en" and caption.image in english:
            pairs[caption.language].append((english[caption.image], caption.text))
    return pairs


def _write_pairs(folder: Path, pairs: dict[str, list[tuple[str, str]]]) -> None:
    """Write a table a language."""
    folder.mkdir(exist_ok=True)
    for language, rows in pairs.items():
        lines = [f"{source}\t{text}\n" for source, text in _clean(rows)]
        (folder / f"{language}.tsv").write_text("".join(lines), encoding="utf-8")


def _clean(rows: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for source, text in rows:
        yield " ".join(source.split()), " ".join(text.split())


if __name__ == "__main__":
    main()

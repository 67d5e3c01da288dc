"""Sentences as people write them when they look for a picture, in ten languages: not those of any data set."""

from importlib import resources


def asked_sentences() -> tuple[str, ...]:
    """The sentences, which were written for this project.

    :return: texts
    """
    lines = resources.files("babelclip").joinpath("asked.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(line.split("\t")[1] for line in lines)

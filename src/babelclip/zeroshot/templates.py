"""Prompt templates: a photo of a {}, in the language of the labels.

They were written for this project, for names in their dictionary form: where a language would bend the noun or needs an
article, the template sets it off with a colon. The bare name is always among them.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources

from babelclip.errors import InputError

BARE = "{}"


def templates_of(language: str | None) -> tuple[str, ...]:
    """The templates of a language, the bare name first.

    :param language: a code; None, or one that has no templates, has the bare name alone
    :return: texts, each with ``{}`` in the place of the name
    """
    return (BARE, *_all().get(language or "", ()))


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Templates that somebody gave.

    :param templates: texts
    :return: the same, each once
    :raises InputError: if there is none, or one has not exactly one ``{}``
    """
    wrong = [template for template in templates if template.count(BARE) != 1]
    if wrong or not templates or isinstance(templates, str):
        raise InputError(f"templates are texts with one {{}} for the name; {wrong or templates!r} cannot be used")
    return tuple(dict.fromkeys(templates))


def fill(templates: Sequence[str], name: str) -> list[str]:
    """The prompts of a name.

    :param templates: texts with one ``{}``
    :param name: what to put there
    :return: a text a template
    """
    return [template.replace(BARE, name) for template in templates]


@cache
def _all() -> dict[str, list[str]]:
    """The templates by language."""
    text = resources.files("babelclip.zeroshot").joinpath("templates.json").read_text(encoding="utf-8")
    found: dict[str, list[str]] = json.loads(text)
    return found

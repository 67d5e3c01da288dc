"""Prompt templates, such as "a photo of a {}", in the language of the labels.

They take names in their dictionary form: where a language would inflect the noun or needs an article, the template
separates it by a colon. The bare name is always one of the templates.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources

from babelclip.errors import InputError

BARE = "{}"


def templates_of(language: str | None) -> tuple[str, ...]:
    """Return the templates of a language, the bare name first.

    :param language: a language code; without templates of the language, the result is the bare name alone
    :return: texts with ``{}`` for the name
    """
    return (BARE, *_all().get(language or "", ()))


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Validate templates.

    :param templates: texts
    :return: the distinct templates
    :raises InputError: if there are none, or one does not contain exactly one ``{}``
    """
    invalid = [template for template in templates if template.count(BARE) != 1]
    if invalid or not templates or isinstance(templates, str):
        raise InputError(
            f"every template must contain {{}} once, in the place of the name; invalid: {invalid or templates!r}"
        )
    return tuple(dict.fromkeys(templates))


def fill(templates: Sequence[str], name: str) -> list[str]:
    """Put a name into templates.

    :param templates: texts with one ``{}``
    :param name: the name
    :return: one prompt for each template
    """
    return [template.replace(BARE, name) for template in templates]


@cache
def _all() -> dict[str, list[str]]:
    """Read the templates by language."""
    text = resources.files("babelclip.zeroshot").joinpath("templates.json").read_text(encoding="utf-8")
    by_language: dict[str, list[str]] = json.loads(text)
    return by_language

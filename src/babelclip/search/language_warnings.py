"""Warnings about queries in languages that the model does not know, or knows poorly."""

from babelclip.models.model import Model
from babelclip.text.language_id import guess_language
from babelclip.text.languages import BY_CODE
from babelclip.text.scripts import script_of


def language_warning(text: str, model: Model) -> str | None:
    """Warn if a text seems to be in a language that the model does not know, or knows poorly.

    :param text: a query
    :param model: the model that encodes it
    :return: a sentence; None where there is nothing to warn of, or the language is not identified
    """
    script = script_of(text)
    scripts = {BY_CODE[code].script for code in model.languages if code in BY_CODE}
    if script is not None and scripts and script not in scripts:
        return f"{model.name} was not taught any language in the {script} script: do not rely on what it finds"
    code = guess_language(text)
    if code is None:
        return None
    name = BY_CODE[code].name if code in BY_CODE else f"language {code!r}"
    if code.split("-")[0] not in {known.split("-")[0] for known in model.languages}:
        return f"this looks like {name}, which {model.name} was not taught: do not rely on what it finds"
    if model.verdicts.get(code) == "poor":
        return f"this looks like {name}, which {model.name} knows poorly: English will find more"
    return None

"""Language identification, and the warnings that follow from it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from babelclip.cli.app import APP
from babelclip.models import registry
from babelclip.models.export import export_folder
from babelclip.models.model import Model
from babelclip.search.language_warnings import language_warning
from babelclip.text.language_id import guess_language
from babelclip.text.languages import CODES


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ძაღლი", "ka"),
        ("נעל", "he"),
        ("the little dog is running along the beach with its ball", "en"),
        ("собака біжить уздовж піщаного пляжу", "uk"),
        ("mbwa anakimbia ufukweni na mtoto", "sw"),
        ("hund", None),
        ("la casa", None),
        ("3 + 4", None),
    ],
)
def test_a_language_is_identified_if_script_or_statistics_decide_it(text: str, code: str | None) -> None:
    assert guess_language(text) == code


@pytest.fixture
def judged(pair: Model, tmp_path: Path) -> Model:
    """A model that knows the usual languages, Hebrew poorly."""
    folders = registry.ModelFolders("judged", pair.text_spec.folder, pair.image_spec.folder, {})  # type: ignore[union-attr]
    facts = {"name": "judged", "languages": list(CODES), "verdicts": {"he": "poor", "ka": "good"}}
    export_folder(folders, tmp_path / "judged", facts=facts)
    return Model.load(tmp_path / "judged")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("கடற்கரையில் ஒரு நாய்", "Tamil script"),
        ("mbwa anakimbia ufukweni na mtoto", "'sw'"),
        ("כלב על החוף", "Hebrew, which judged knows poorly"),
    ],
)
def test_an_unknown_or_poor_language_is_cautioned_against(judged: Model, text: str, words: str) -> None:
    said = language_warning(text, judged)
    assert said is not None
    assert words in said.replace(str(judged.name), "judged")


@pytest.mark.parametrize(
    "text", ["a dog runs along the sandy beach", "ძაღლი", "hund", "uma praia de areia branca", "123"]
)
def test_known_languages_and_doubtful_texts_pass_in_silence(judged: Model, text: str) -> None:
    assert language_warning(text, judged) is None


def test_a_search_warns_on_stderr_and_keeps_stdout_clean(judged: Model, photos: Path, tmp_path: Path) -> None:
    runner, index = CliRunner(), str(tmp_path / "x.bc")
    model = ["--model", str(tmp_path / "judged"), "--index", index]
    assert runner.invoke(APP, ["index", str(photos), *model]).exit_code == 0
    result = runner.invoke(APP, ["search", "כלב על החוף", *model, "--json"])
    assert result.exit_code == 0
    assert "knows poorly" in result.stderr
    assert all(line.startswith("{") for line in result.stdout.splitlines())

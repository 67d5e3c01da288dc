"""Languages told by script and by statistics, and what is said of them before an answer is trusted."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from babelclip.cli.app import APP
from babelclip.models import registry
from babelclip.models.export import export_folder
from babelclip.models.model import Model
from babelclip.search.language_warnings import caution
from babelclip.text import language_id
from babelclip.text.language_id import guess_language, script_of
from babelclip.text.languages import CODES


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("a dog", "Latin"),
        ("собака", "Cyrillic"),
        ("海滩上的狗", "Han"),
        ("海辺の犬", "Japanese"),
        ("ﾊﾝｶｸ", "Japanese"),
        ("คน 12", "Thai"),
        ("கடற்கரை", "Tamil"),
        ("12 ! 🐶", None),
        ("", None),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


ENGLISH = "the little dog is running along the beach with its ball"


def test_the_model_that_tells_languages_is_unpacked_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    language_id._open_identifier.cache_clear()
    assert guess_language(ENGLISH) == "en"
    (kept,) = (home / "languages").iterdir()
    assert (kept / "table.npy").stat().st_size > 1_000_000
    language_id._open_identifier.cache_clear()
    monkeypatch.setattr("py3langid.modelio.load_model", None)
    assert guess_language(ENGLISH) == "en"


def test_a_damaged_model_that_tells_languages_is_unpacked_again(home: Path) -> None:
    language_id._open_identifier.cache_clear()
    guess_language(ENGLISH)
    (kept,) = (home / "languages").iterdir()
    (kept / "moves.npy").write_bytes(b"damaged")
    language_id._open_identifier.cache_clear()
    assert guess_language(ENGLISH) == "en"
    assert (kept / "moves.npy").stat().st_size > 1_000_000
    assert [folder.name for folder in kept.parent.iterdir()] == [kept.name]


def test_languages_are_told_where_nothing_can_be_kept(home: Path) -> None:
    home.write_text("a file where the data folder should be")
    language_id._open_identifier.cache_clear()
    assert guess_language(ENGLISH) == "en"


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
def test_a_language_is_told_where_it_can_be(text: str, code: str | None) -> None:
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
    said = caution(text, judged)
    assert said is not None
    assert words in said.replace(str(judged.name), "judged")


@pytest.mark.parametrize(
    "text", ["a dog runs along the sandy beach", "ძაღლი", "hund", "uma praia de areia branca", "123"]
)
def test_known_languages_and_doubtful_texts_pass_in_silence(judged: Model, text: str) -> None:
    assert caution(text, judged) is None


def test_a_search_warns_on_stderr_and_keeps_stdout_clean(judged: Model, photos: Path, tmp_path: Path) -> None:
    runner, index = CliRunner(), str(tmp_path / "x.bc")
    model = ["--model", str(tmp_path / "judged"), "--index", index]
    assert runner.invoke(APP, ["index", str(photos), *model]).exit_code == 0
    result = runner.invoke(APP, ["search", "כלב על החוף", *model, "--json"])
    assert result.exit_code == 0
    assert "knows poorly" in result.stderr
    assert all(line.startswith("{") for line in result.stdout.splitlines())

from pathlib import Path

import pytest

from babelclip.errors import InputError
from babelclip.query.expressions import Term, checked, read_expression


@pytest.mark.parametrize(
    "text",
    [
        "hond op het strand",
        "rock - paper",
        '"big" dog',
        'the "big" dog',
        "5*x",
        'a"b',
        "- dog",
        "photo.jpg",
        "犬" * 500,
        "~nobody/x",
        "a\0b",
    ],
)
def test_plain_text_stays_plain_text(text: str) -> None:
    assert read_expression(text) == (Term(text),)


def test_texts_and_pictures_have_signs_and_weights(tmp_path: Path) -> None:
    (tmp_path / "my photo.jpg").touch()
    (tmp_path / "b.jpg").touch()
    found = read_expression(f'"hond op het strand" + {tmp_path}/b.jpg - 0.5*"mensen" + file:"{tmp_path}/my photo.jpg"')
    assert found == (
        Term("hond op het strand"),
        Term(tmp_path / "b.jpg"),
        Term("mensen", -0.5),
        Term(tmp_path / "my photo.jpg"),
    )


@pytest.mark.parametrize("text", ["“Hund” - „Katze“", "«Hund» - 「Katze」", '"Hund"-"Katze"'])
def test_quotes_of_other_languages_are_quotes(text: str) -> None:
    assert read_expression(text) == (Term("Hund"), Term("Katze", -1))


def test_a_query_may_begin_with_a_sign_or_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert read_expression('-"people"') == (Term("people", -1),)
    assert read_expression(f"{tmp_path}/a.jpg") == (Term(tmp_path / "a.jpg"),)


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ('"dog" - people', "no picture people", 8),
        ('"dog" + none.jpg', "no picture none.jpg", 8),
        ('"dog" +', "expected a text in quotes or a picture", 6),
    ],
)
def test_an_error_points_at_the_place(text: str, message: str, caret: int) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_expression(text)
    assert str(caught.value).splitlines()[-1].index("^") - 2 == caret


@pytest.mark.parametrize("text", ["", " \n", '""', '"a" + ""', '0*"a" + "b"', " + ".join(['"a"'] * 65)])
def test_what_says_nothing_is_an_error(text: str) -> None:
    with pytest.raises(InputError):
        read_expression(text)


def test_weights_must_be_numbers() -> None:
    with pytest.raises(InputError, match="not nan"):
        checked([Term("a", float("nan"))])

import unicodedata

import pytest

from babelclip.text.normalize import is_blank, normalize_query, normalize_text


@pytest.mark.parametrize("text", ["해변의 개", "海辺の犬がいる", "café à noël", "собака й щенок", "কুকুর"])
def test_composed_and_decomposed_queries_are_one_query(text: str) -> None:
    assert normalize_query(unicodedata.normalize("NFD", text)) == normalize_query(text) == text


@pytest.mark.parametrize(
    ("written", "embedded"),
    [
        ("Strand\u00adhund", "strandhund"),
        ("a\u2060 dog\u200b", "a dog"),
        ("\u200fكلب على الشاطئ\u200e", "كلب على الشاطئ"),
        ("\ufeffun chien", "un chien"),
        ("كَلْب", "كلب"),
        ("كـــلـب", "كلب"),
        ("Köpek sahilde", "köpek sahilde"),
        ("A DOG ON THE BEACH", "a dog on the beach"),
        ("İZMİR", "izmir"),
        ("KIRMIZI ELMA AĞACI", "kırmızı elma ağacı"),
        ("ΟΔΟΣ", "οδος"[:-1] + "ς"),
        ("СОБАКА НА ПЛЯЖЕ", "собака на пляже"),
    ],
)
def test_what_nobody_sees_and_capitals_do_not_make_another_query(written: str, embedded: str) -> None:
    assert normalize_query(written) == embedded


@pytest.mark.parametrize("text", ["می‌خواهم", "👩‍👧", "犬", "กา", "हिन्दी", "dog's bed, 3 m"])
def test_what_changes_the_meaning_stays(text: str) -> None:
    assert normalize_query(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "\t\n", "\u00a0", "\u200b", "\u00ad\u2060", "\ufeff ", "\u200f", "\u0640\u064e"]
)
def test_what_nobody_can_see_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(f"{text}犬")


def test_words_are_compared_composed_and_in_lower_case() -> None:
    assert normalize_text(unicodedata.normalize("NFD", "Élan")) == "élan"

import itertools
import re
import unicodedata

import pytest

from babelclip.text.languages import LANGUAGES
from babelclip.text.script_ranges import RANGES, VERSION
from babelclip.text.scripts import SHARED, script_of, script_of_character
from unicode_scripts import module_text, read_ranges

WORDS = {
    "Arabic": "كلب على الشاطئ",
    "Armenian": "շունը լողափին",
    "Cyrillic": "собака на пляжі",
    "Devanagari": "समुद्र तट पर कुत्ता",
    "Georgian": "ძაღლი პლაჟზე",
    "Greek": "ένας σκύλος",
    "Gujarati": "બીચ પર કૂતરો",
    "Han": "海滩上的狗",
    "Hangul": "해변의 개",
    "Hebrew": "כלב על החוף",
    "Japanese": "砂浜の犬",
    "Latin": "één hond på stranden với",
    "Myanmar": "ကမ်းခြေရှိခွေး",
    "Thai": "สุนัขบนชายหาด",
}


@pytest.mark.parametrize("script", sorted({language.script for language in LANGUAGES}))
def test_the_script_of_every_listed_language_is_found(script: str) -> None:
    assert script_of(WORDS[script]) == script


@pytest.mark.parametrize(
    ("character", "script"),
    [
        ("a", "Latin"),
        ("ß", "Latin"),
        ("ự", "Latin"),
        ("Ａ", "Latin"),
        ("ﬁ", "Latin"),
        ("K", "Latin"),
        ("ª", "Latin"),
        ("Ω", "Greek"),
        ("ѝ", "Cyrillic"),
        ("ﷺ", "Arabic"),
        ("י", "Hebrew"),
        ("\u0301", "Inherited"),
        ("\u064b", "Inherited"),
        ("\u200d", "Inherited"),
        ("\u0902", "Devanagari"),
        ("\u0e31", "Thai"),
        ("0", "Common"),
        ("٣", "Arabic"),
        ("३", "Devanagari"),
        ("।", "Common"),
        ("、", "Common"),
        ("!", "Common"),
        (" ", "Common"),
        ("€", "Common"),
        ("🐶", "Common"),
        ("µ", "Common"),
        ("あ", "Hiragana"),
        ("ゟ", "Hiragana"),
        ("ア", "Katakana"),
        ("ｱ", "Katakana"),
        ("ㇰ", "Katakana"),
        ("ー", "Common"),
        ("가", "Hangul"),
        ("\u1100", "Hangul"),
        ("\u1161", "Hangul"),
        ("ㄱ", "Hangul"),
        ("ﾡ", "Hangul"),
        ("漢", "Han"),
        ("々", "Han"),
        ("〇", "Han"),
        ("⼀", "Han"),
        ("\uf900", "Han"),
        ("\u3400", "Han"),
        ("\U00020000", "Han"),
        ("\U0002a700", "Han"),
        ("\U0002b740", "Han"),
        ("\U0002b820", "Han"),
        ("\U0002ceb0", "Han"),
        ("\U0002f800", "Han"),
        ("\U00030000", "Han"),
        ("\U00031350", "Han"),
        ("ㄅ", "Bopomofo"),
        ("𐌀", "Old Italic"),
        ("\x00", "Common"),
        ("\u0378", "Unknown"),
        ("\ue000", "Unknown"),
        ("\U0010ffff", "Unknown"),
    ],
)
def test_a_character_has_its_script_in_unicode(character: str, script: str) -> None:
    assert script_of_character(character) == script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("a dog", "Latin"),
        ("собака dog", "Cyrillic"),
        ("海滩上的狗", "Han"),
        ("海辺の犬", "Japanese"),
        ("ﾊﾝｶｸ", "Japanese"),
        ("コーヒー", "Japanese"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "Hangul"),
        ("Ｄｏｇ", "Latin"),
        ("e\u0301te\u0301", "Latin"),
        ("คน 12", "Thai"),
        ("கடற்கரை", "Tamil"),
        ("µ µ µ", "Greek"),
        ("100 € !!!! ок", "Cyrillic"),
        ("12 ! 🐶", None),
        ("\u0301", None),
        ("", None),
    ],
)
def test_a_text_has_the_script_of_most_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


def test_every_letter_that_the_table_can_know_has_a_script() -> None:
    letters = [chr(code) for code in range(0x30000) if unicodedata.category(chr(code)) in ("Lu", "Ll", "Lt")]
    assert len(letters) > 4000
    unknown = [letter for letter in letters if script_of_character(letter) in ("Inherited", "Unknown")]
    # A later version of Unicode, in a later Python, has some letters more.
    assert len(unknown) < 100
    assert unicodedata.unidata_version != VERSION or not unknown


def test_ranges_of_scripts_do_not_overlap() -> None:
    bounds = sorted(
        (int(first, 16), int(last or first, 16))
        for ranges in RANGES.values()
        for first, last in re.findall(r"([0-9A-F]+)(?:-([0-9A-F]+))?", ranges)
    )
    assert all(before[1] < after[0] for before, after in itertools.pairwise(bounds))
    assert SHARED - {"Unknown"} < RANGES.keys()


SAMPLE = """# Scripts-9.9.9.txt
# @missing: 0000..10FFFF; Unknown
0041..0043    ; Latin # L&  [3] A..C
0044          ; Latin # L&       D
0061..0062    ; Latin # L&
10300..1031F  ; Old_Italic # Lo
"""


def test_the_tool_joins_ranges_and_writes_a_module_that_can_be_imported() -> None:
    assert read_ranges(SAMPLE.splitlines())["Latin"] == [(0x41, 0x44), (0x61, 0x62)]
    names: dict[str, object] = {}
    exec(module_text(SAMPLE), names)
    assert names["VERSION"] == "9.9.9"
    assert names["RANGES"] == {"Latin": "41-44 61-62", "Old Italic": "10300-1031F"}

"""The languages that the published multilingual model was trained for.

The list is the one its authors give; a model folder may state its own in babelclip.json.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its code (ISO 639-1 where there is one), English name and script."""

    code: str
    name: str
    script: str


LANGUAGES: tuple[Language, ...] = tuple(
    Language(*row)
    for row in (
        ("ar", "Arabic", "Arabic"),
        ("bg", "Bulgarian", "Cyrillic"),
        ("ca", "Catalan", "Latin"),
        ("cs", "Czech", "Latin"),
        ("da", "Danish", "Latin"),
        ("de", "German", "Latin"),
        ("el", "Greek", "Greek"),
        ("en", "English", "Latin"),
        ("es", "Spanish", "Latin"),
        ("et", "Estonian", "Latin"),
        ("fa", "Persian", "Arabic"),
        ("fi", "Finnish", "Latin"),
        ("fr", "French", "Latin"),
        ("fr-ca", "French (Canada)", "Latin"),
        ("gl", "Galician", "Latin"),
        ("gu", "Gujarati", "Gujarati"),
        ("he", "Hebrew", "Hebrew"),
        ("hi", "Hindi", "Devanagari"),
        ("hr", "Croatian", "Latin"),
        ("hu", "Hungarian", "Latin"),
        ("hy", "Armenian", "Armenian"),
        ("id", "Indonesian", "Latin"),
        ("it", "Italian", "Latin"),
        ("ja", "Japanese", "Japanese"),
        ("ka", "Georgian", "Georgian"),
        ("ko", "Korean", "Hangul"),
        ("ku", "Kurdish (Kurmanji)", "Latin"),
        ("lt", "Lithuanian", "Latin"),
        ("lv", "Latvian", "Latin"),
        ("mk", "Macedonian", "Cyrillic"),
        ("mn", "Mongolian", "Cyrillic"),
        ("mr", "Marathi", "Devanagari"),
        ("ms", "Malay", "Latin"),
        ("my", "Burmese", "Myanmar"),
        ("nb", "Norwegian Bokmål", "Latin"),
        ("nl", "Dutch", "Latin"),
        ("pl", "Polish", "Latin"),
        ("pt", "Portuguese", "Latin"),
        ("pt-br", "Portuguese (Brazil)", "Latin"),
        ("ro", "Romanian", "Latin"),
        ("ru", "Russian", "Cyrillic"),
        ("sk", "Slovak", "Latin"),
        ("sl", "Slovenian", "Latin"),
        ("sq", "Albanian", "Latin"),
        ("sr", "Serbian", "Cyrillic"),
        ("sv", "Swedish", "Latin"),
        ("th", "Thai", "Thai"),
        ("tr", "Turkish", "Latin"),
        ("uk", "Ukrainian", "Cyrillic"),
        ("ur", "Urdu", "Arabic"),
        ("vi", "Vietnamese", "Latin"),
        ("zh-cn", "Chinese (simplified)", "Han"),
        ("zh-tw", "Chinese (traditional)", "Han"),
    )
)

CODES: tuple[str, ...] = tuple(language.code for language in LANGUAGES)

BY_CODE: dict[str, Language] = {language.code: language for language in LANGUAGES}

from babelclip.text.languages import BY_CODE, CODES, LANGUAGES

PUBLISHED = (
    "ar bg ca cs da de el en es et fa fi fr fr-ca gl gu he hi hr hu hy id it ja ka ko ku lt lv mk mn mr "
    "ms my nb nl pl pt pt-br ro ru sk sl sq sr sv th tr uk ur vi zh-cn zh-tw"
)


def test_the_listed_languages_are_those_of_the_published_model() -> None:
    assert tuple(PUBLISHED.split()) == CODES


def test_every_language_has_a_name_and_a_script() -> None:
    assert all(language.name and language.script for language in LANGUAGES)
    assert BY_CODE["hi"].script == "Devanagari"

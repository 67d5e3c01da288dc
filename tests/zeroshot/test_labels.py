"""Labels, templates and background vocabularies."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from babelclip.errors import DataError, InputError
from babelclip.text.languages import CODES
from babelclip.zeroshot import Label, read_labels
from babelclip.zeroshot.background_vocabulary import background_vocabulary
from babelclip.zeroshot.labels import as_labels
from babelclip.zeroshot.templates import templates_of

TREE = {"animal": {"dog": ["hound"], "cat": []}, "vehicle": {"car": []}}


def test_names_synonyms_and_trees_are_read() -> None:
    assert as_labels(["dog ", Label("cat", ("cat", "Katze"))]) == [
        Label("dog", ("dog",)),
        Label("cat", ("cat", "Katze")),
    ]
    assert as_labels(TREE) == [
        Label("animal", ("animal",)),
        Label("dog", ("dog", "hound"), ("animal",)),
        Label("cat", ("cat",), ("animal",)),
        Label("vehicle", ("vehicle",)),
        Label("car", ("car",), ("vehicle",)),
    ]


def test_a_text_file_gives_synonyms_by_bars_and_a_tree_by_indents(tmp_path: Path) -> None:
    lines = "animal\n\tdog | hound | dog\n    cat\n\nvehicle\n  car\n"
    (tmp_path / "labels.txt").write_text(lines, encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt") == as_labels(TREE)


def test_json_gives_the_same_as_python(tmp_path: Path) -> None:
    for content in (["a", "b"], TREE):
        (tmp_path / "labels.json").write_text(json.dumps(content), encoding="utf-8")
        assert read_labels(tmp_path / "labels.json") == as_labels(content)


def test_a_file_of_babel_imagenet_needs_its_language_and_may_repeat_names(tmp_path: Path) -> None:
    content = {"DE": [[0, 1], ["Kran", "Kran"]], "wnids": ["n1", "n2"]}
    path = tmp_path / "names.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    assert [(label.name, label.key) for label in read_labels(path, "de")] == [("Kran", "n1"), ("Kran", "n2")]
    for language in (None, "fr"):
        with pytest.raises(InputError, match="one of de"):
            read_labels(path, language)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no labels"),
        ({}, "no labels"),
        ("dog", "not the text 'dog'"),
        (["dog", " "], "without text"),
        (["dog", 3], "not int"),
        (["dog", "cat", "dog"], "repeated: 'dog'"),
        ({"dog": 3}, "'dog' must have a list"),
    ],
)
def test_invalid_labels_are_named(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_labels(labels)


@pytest.mark.parametrize(("name", "content"), [("x.json", b"{"), ("x.json", b"3"), ("x.txt", b"\xff\xff")])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_labels(tmp_path / name)
    with pytest.raises(DataError, match="missing"):
        read_labels(tmp_path / "missing.txt")


@pytest.mark.parametrize("code", CODES)
def test_every_language_has_templates_and_a_background_vocabulary(code: str) -> None:
    templates = templates_of(code)
    assert templates[0] == "{}"
    assert len(set(templates)) == len(templates) >= 4
    assert all(template.count("{}") == 1 for template in templates)
    words = background_vocabulary(code)
    assert len(words) == len(background_vocabulary("en")) >= 50
    assert all(word.strip() == word and word for word in words)


def test_a_language_without_templates_has_the_bare_name_and_english_things() -> None:
    assert templates_of("tlh") == templates_of(None) == ("{}",)
    assert background_vocabulary("tlh") == background_vocabulary(None) == background_vocabulary("en")

"""Tests of reading class names."""

import gzip
import json
from pathlib import Path

import pytest

from babelclip.errors import DataError
from babelclip.zeroshot.class_names import ClassNames, read_class_names, read_numbered_names


def test_class_names_are_read_in_the_format_of_babel_imagenet(tmp_path: Path) -> None:
    content: dict[str, object] = {
        "DE": [[0, 2], ["Schleie", "Hai"]],
        "ZH": [[1], ["金鱼"]],
        "wnids": ["n1", "n2", "n3"],
    }
    (tmp_path / "names.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    assert read_class_names(tmp_path / "names.json.gz") == [
        ClassNames("de", {"n1": "Schleie", "n3": "Hai"}),
        ClassNames("zh-cn", {"n2": "金鱼"}),
    ]
    content["DE"] = [[2, 0], ["Hai", "Schleie"]]
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert read_numbered_names(tmp_path / "other.json") == (
        ["n1", "n2", "n3"],
        {"de": {0: "Schleie", 2: "Hai"}, "zh-cn": {1: "金鱼"}},
    )
    damaged: tuple[object, ...] = (
        {"DE": [[0], ["x"]]},
        {"DE": [[9], ["x"]], "wnids": ["n1"]},
        {"DE": 3, "wnids": []},
        [],
    )
    for bad in damaged:
        (tmp_path / "bad.json").write_text(json.dumps(bad))
        with pytest.raises(DataError, match=r"bad\.json cannot be read as class names"):
            read_class_names(tmp_path / "bad.json")

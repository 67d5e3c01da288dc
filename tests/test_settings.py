import os
from pathlib import Path

import pytest

from babelclip.errors import InputError
from babelclip.settings import bound_onednn, settings


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert settings().home == home
    monkeypatch.setenv("BABELCLIP_HOME", "/elsewhere")
    assert settings().home == home


def test_without_variables_there_are_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BABELCLIP_HOME")
    assert settings().home.name == "babelclip"
    assert settings().runtime == "openvino"
    assert settings().index.name == "photos.bc"


@pytest.mark.parametrize("value", ["many", "-1", "1.5", "0"])
def test_a_limit_that_is_no_whole_number_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BABELCLIP_MAX_IMAGE_PIXELS", value)
    with pytest.raises(InputError, match=f"BABELCLIP_MAX_IMAGE_PIXELS='{value}'"):
        settings()


def test_how_much_onednn_keeps_is_said_once_and_a_choice_that_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    bound_onednn(9)
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    bound_onednn(9)
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "9"

import inspect
from importlib import metadata
from pathlib import Path

import pytest

from babelclip.text import langid_model

ENGLISH = "the little dog is running along the beach with its ball"


@pytest.fixture(autouse=True)
def closed() -> None:
    langid_model.forget()


def test_py3langid_still_has_the_private_names_that_are_used() -> None:
    version = metadata.version("py3langid")
    gone = f"py3langid {version} changed: mend text/langid_model.py, then move the pin in pyproject.toml; missing: "
    from py3langid import langid, modelio

    for module, name in (
        (langid, "LanguageIdentifier"),
        (langid, "MODEL_DIR"),
        (langid, "MODEL_FILE"),
        (modelio, "load_model"),
    ):
        assert hasattr(module, name), f"{gone}{module.__name__}.{name}"
    parameters = list(inspect.signature(langid.LanguageIdentifier.__init__).parameters)
    expected = ["self", "nb_ptc", "nb_pc", "nb_classes", "tk_nextmove", "tk_output", "norm_probs", "tk_row"]
    missing = [name for name in expected if name not in parameters]
    assert not missing, f"{gone}parameters {missing} of LanguageIdentifier"
    assert parameters[:6] == expected[:6], f"{gone}the order of the parameters of LanguageIdentifier"
    arrays = modelio.load_model(langid.MODEL_DIR / langid.MODEL_FILE)
    assert len(arrays) == len(langid_model.ARRAYS), f"{gone}load_model returns {len(arrays)} arrays"


def test_the_pin_excludes_the_next_minor_version() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    major, minor, _ = metadata.version("py3langid").split(".")
    assert f'"py3langid~={major}.{minor}.' in project


def test_the_model_is_unpacked_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert langid_model.classify(ENGLISH)[0] == "en"
    (kept,) = (home / "languages").iterdir()
    assert (kept / "table.npy").stat().st_size > 1_000_000
    langid_model.forget()
    monkeypatch.setattr("py3langid.modelio.load_model", None)
    assert langid_model.classify(ENGLISH)[0] == "en"


def test_a_damaged_model_is_unpacked_again(home: Path) -> None:
    langid_model.classify(ENGLISH)
    (kept,) = (home / "languages").iterdir()
    (kept / "moves.npy").write_bytes(b"damaged")
    langid_model.forget()
    assert langid_model.classify(ENGLISH)[0] == "en"
    assert (kept / "moves.npy").stat().st_size > 1_000_000
    assert [folder.name for folder in kept.parent.iterdir()] == [kept.name]


def test_languages_are_identified_where_nothing_can_be_written(home: Path) -> None:
    home.write_text("a file where the data folder should be")
    code, probability = langid_model.classify(ENGLISH)
    assert code == "en"
    assert probability > 0.95

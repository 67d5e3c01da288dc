import subprocess
import sys

import pytest

import babelclip


def test_the_public_names_are_these() -> None:
    assert babelclip.__all__ == [
        "BabelclipError",
        "Classifier",
        "Hit",
        "Index",
        "Model",
        "Prediction",
        "__version__",
        "classify",
    ]
    for name in babelclip.__all__:
        assert getattr(babelclip, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        babelclip.Modell  # noqa: B018


def test_importing_babelclip_imports_nothing_heavy() -> None:
    code = "import sys, babelclip; print(sorted({'numpy', 'onnx', 'openvino', 'PIL', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_and_encoding_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "import babelclip; print(babelclip.Model.load().encode('ein Hund').shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(512,)"

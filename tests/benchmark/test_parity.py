from pathlib import Path
from typing import Any

import pytest

from babelclip.errors import InputError
from babelclip.models import registry


def test_a_pair_is_compared_with_the_code_of_its_authors(reference_clip_folder: Path, parity: Any) -> None:
    rows = parity.check_model(registry.find(str(reference_clip_folder)), ["openvino", "onnxruntime"])
    assert [row.case.rsplit(" ", 1)[-1] for row in rows] == ["text", "text", "image", "image"]
    assert all(row.holds for row in rows)


def test_a_tower_without_a_reference_implementation_is_left_out(parity: Any) -> None:
    (row,) = parity.check_model(registry.find(registry.DEFAULT), ["openvino"])
    assert (row.case, row.holds) == ("mini, text", True)


def test_a_model_without_a_reference_implementation_is_refused(tmp_path: Path, parity: Any) -> None:
    folders = registry.ModelFolders("bare", tmp_path, None, {})
    with pytest.raises(InputError, match="bare: no tower of this model has a reference implementation"):
        parity.check_model(folders, ["openvino"])

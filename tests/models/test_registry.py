import json
from pathlib import Path
from typing import Any

import pytest

from babelclip.errors import LayoutError, ModelNotFoundError
from babelclip.models import hub, registry


def pulled(repository: str, **files: str) -> Path:
    folder = hub.local_folder(repository)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    (folder / hub.RECORD).write_text(json.dumps({"repository": repository, "commit": "c", "files": {}}))
    return folder


def test_mini_is_bundled() -> None:
    found = registry.find("mini")
    assert found.text is not None
    assert found.text.is_dir()
    assert found.manifest["name"] == "mini"


def test_the_published_pair_is_named_once_and_its_towers_come_from_two_repositories() -> None:
    name = "clip-ViT-B-32-multilingual-v1"
    with pytest.raises(ModelNotFoundError, match=f"babelclip pull {name}"):
        registry.find(name)
    text = pulled(f"sentence-transformers/{name}")
    with pytest.raises(ModelNotFoundError, match=f"babelclip pull {name}"):
        registry.find(name)
    image = pulled("sentence-transformers/clip-ViT-B-32")
    for alias in (name, f"sentence-transformers/{name}"):
        found = registry.find(alias)
        assert (found.text, found.image) == (text, image)


def test_a_hub_name_is_found_when_it_was_pulled() -> None:
    with pytest.raises(ModelNotFoundError, match=r"babelclip pull owner/model"):
        registry.find("owner/model")
    folder = pulled("owner/model", config__json='{"model_type": "clip_vision_model"}')
    assert registry.find("owner/model").image == folder


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model 'maxi'.*mini, clip-ViT-B-32-multilingual-v1"):
        registry.find("maxi")


def test_a_clip_folder_holds_both_towers(clip_folder: Path) -> None:
    found = registry.find(str(clip_folder))
    assert found.text == found.image == clip_folder


def test_a_sentence_transformers_clip_folder_holds_both_towers(
    reference_clip_folder: Path, tmp_path: Path, reference: Any
) -> None:
    reference.save_as_clip_vit_b_32(reference_clip_folder, tmp_path / "st")
    found = registry.find(str(tmp_path / "st"))
    assert found.text == found.image == tmp_path / "st"


def test_a_folder_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "babelclip.json").write_text('{"format": 99}')
    with pytest.raises(LayoutError, match="not of format 1"):
        registry.find(str(tmp_path))


def test_names_list_the_bundled_the_pair_and_what_was_pulled() -> None:
    folder = pulled("owner/model")
    listed = dict(registry.names())
    assert listed["owner/model"] == folder
    assert listed["clip-ViT-B-32-multilingual-v1"] is None
    assert listed["mini"] is not None


def test_the_fingerprint_of_a_pulled_model_comes_from_its_record() -> None:
    folder = pulled("owner/model", config__json='{"model_type": "clip_vision_model"}')
    found = registry.find("owner/model")
    record = {"repository": "owner/model", "commit": "c", "files": {"config.json": "aa"}}
    (folder / hub.RECORD).write_text(json.dumps(record))
    before = registry.fingerprint(found)
    (folder / hub.RECORD).write_text(json.dumps({**record, "files": {"config.json": "bb"}}))
    assert registry.fingerprint(found) != before


def test_the_fingerprint_changes_with_any_file_and_only_then(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip_vision_model"}')
    (tmp_path / "model.safetensors").write_bytes(b"1")
    found = registry.find(str(tmp_path))
    before = registry.fingerprint(found)
    assert registry.fingerprint(found) == before
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert registry.fingerprint(found) != before

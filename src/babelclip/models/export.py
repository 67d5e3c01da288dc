"""Writing a model as a babelclip folder: both towers, their facts, and a checksum for every file."""

import json
import shutil
from pathlib import Path
from typing import Any

from babelclip.checkpoints.layouts import MANIFEST, module_folders, read_image_spec, read_text_spec
from babelclip.checkpoints.weights import WEIGHTS, Storage, read_weights, write_weights
from babelclip.errors import ModelError
from babelclip.filesystem import whole_folder
from babelclip.models.hub import RECORD, sha256
from babelclip.models.registry import FORMAT, ModelFolders
from babelclip.text.languages import CODES

CARD = "MODEL_CARD.md"

_WEIGHTS = (WEIGHTS, f"{WEIGHTS}.index.json", "pytorch_model.bin")
_SIDE_FILES = (".json", ".txt", ".model", ".md")


def export_folder(
    folders: ModelFolders, target: Path, *, storage: Storage = "float32", facts: dict[str, Any] | None = None
) -> None:
    """Write a model as a babelclip folder, whole or not at all.

    With "float32" or "float16" the ``text`` folder opens in sentence-transformers; the compact form "int8" (see
    weights) is read by babelclip alone.

    :param folders: the model
    :param target: the folder to make; it must not be there
    :param storage: how the weights are stored
    :param facts: entries of babelclip.json that replace those of the model: name, version, licence, languages, ...
    :raises InputError: if the target is there already
    :raises ModelError: if the model lacks a tower
    """
    with whole_folder(target) as root:
        write_model(folders, root, storage=storage, facts=facts)


def write_model(
    folders: ModelFolders, root: Path, *, storage: Storage = "float32", facts: dict[str, Any] | None = None
) -> None:
    """Write the files of a babelclip folder into one that is there.

    :param folders: the model
    :param root: an empty folder
    :param storage: as for export_folder
    :param facts: as for export_folder
    :raises ModelError: if the model lacks a tower
    """
    if folders.text is None or folders.image is None:
        raise ModelError(f"{folders.name} lacks a tower; only a pair can be exported")
    text = read_text_spec(folders.text)
    copy_tower(folders.text, root / "text", storage)
    copy_tower(read_image_spec(folders.image).folder, root / "image", storage)
    card = folders.text.parent / CARD
    if card.is_file():
        shutil.copyfile(card, root / CARD)
    # The bound of int8 belongs to the calibration, which is not copied.
    stated = {key: value for key, value in folders.manifest.items() if key != "int8"}
    manifest = {
        "name": folders.name,
        "version": "1",
        "licence": "see the model's own page",
        "languages": list(CODES),
        **stated,
        **(facts or {}),
        "format": FORMAT,
        "dimension": text.dimension,
        "storage": storage,
    }
    write_manifest(root, manifest)


def write_manifest(root: Path, manifest: dict[str, Any]) -> None:
    """Write babelclip.json with the checksums of all files beside it.

    :param root: a model folder
    :param manifest: its entries, but for ``files``
    """
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST)
    checksums = {path.relative_to(root).as_posix(): sha256(path) for path in files}
    content = json.dumps({**manifest, "files": checksums}, indent=1, ensure_ascii=False)
    (root / MANIFEST).write_text(content + "\n", encoding="utf-8")


def copy_tower(source: Path, target: Path, storage: Storage = "float32") -> None:
    """Copy a tower: the small files as they are, every weights file as one model.safetensors.

    :param source: a tower's folder; what is not of the model, such as a training's checkpoints, is left there
    :param target: the folder to write into
    :param storage: how the weights are stored
    """
    for folder in module_folders(source):
        destination = target / folder.relative_to(source)
        destination.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.iterdir()):
            index = file.name.endswith(".index.json")
            if file.is_file() and file.suffix in _SIDE_FILES and file.name != RECORD and not index:
                shutil.copyfile(file, destination / file.name)
        if any((folder / name).is_file() for name in _WEIGHTS):
            write_weights(destination / WEIGHTS, read_weights(folder), storage)

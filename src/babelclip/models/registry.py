"""Model name -> local folders: the bundled model, a path, or a name on the hub that was pulled."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from babelclip.checkpoints.layouts import MANIFEST, encoder_folder, read_json
from babelclip.errors import LayoutError, ModelError, ModelNotFoundError
from babelclip.models import hub
from babelclip.settings import settings

DEFAULT = "mini"
BUNDLED = Path(__file__).parents[1] / "bundled"
FORMAT = 1
CALIBRATIONS = "int8"
"""The folder of a model folder's int8 calibrations, by tower."""

PAIRS: dict[str, tuple[str, str]] = {
    "clip-ViT-B-32-multilingual-v1": (
        "sentence-transformers/clip-ViT-B-32-multilingual-v1",
        "sentence-transformers/clip-ViT-B-32",
    ),
}
"""Published pairs: a name, the repository of the text tower, the repository of the image tower."""

_FINGERPRINTED = (".json", ".txt", ".safetensors", ".bin")
_ALIASES = {text: name for name, (text, _) in PAIRS.items()}


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """Where the towers of a model are; one of them may be missing. ``manifest`` is babelclip.json, or empty.

    ``calibrations`` are the files that let a tower run in int8, by "text" and "image", where there are any.
    """

    name: str
    text: Path | None
    image: Path | None
    manifest: dict[str, Any]
    calibrations: Mapping[str, Path] = field(default_factory=dict)


def find(name: str) -> ModelFolders:
    """Find the folders of a model.

    :param name: ``mini``, the name of a published pair, a hub name (owner/name), or a path
    :return: where its towers are
    :raises ModelNotFoundError: if nothing of that name is here; says how to get it
    :raises LayoutError: if its babelclip.json cannot be used
    """
    name = _ALIASES.get(name, name)
    if (BUNDLED / name / MANIFEST).is_file() and Path(name).name == name:
        return from_folder(BUNDLED / name, name)
    if name in PAIRS:
        text, image = (hub.local_folder(repository) for repository in PAIRS[name])
        if not (hub.is_pulled(text) and hub.is_pulled(image)):
            raise ModelNotFoundError(f"{name} is not here yet. Get it with: babelclip pull {name}")
        return ModelFolders(name, text, image, {})
    path = Path(name).expanduser()
    if path.is_dir():
        return from_folder(path, str(path))
    pulled = hub.local_folder(name)
    if "/" in name and hub.is_pulled(pulled):
        return from_folder(pulled, name)
    hint = (
        f", nor was it pulled (babelclip pull {name})"
        if name.count("/") == 1 and not name.startswith((".", "/"))
        else ""
    )
    raise ModelNotFoundError(
        f"no model {name!r}: it is not a folder{hint}. Known names: {', '.join([DEFAULT, *PAIRS])}"
    )


def pair(text: str | Path | None, image: str | Path | None) -> ModelFolders:
    """Find the folders of a model whose towers are named separately.

    :param text: the text tower's name or folder, or None for no text tower
    :param image: the image tower's, or None
    :return: where they are
    :raises ModelNotFoundError: as find
    :raises ModelError: if one of them does not have the tower it is named for
    """
    named = {tower: str(name) for tower, name in (("text", text), ("image", image)) if name is not None}
    folders = {tower: find(name) for tower, name in named.items()}
    paths: dict[str, Path | None] = {tower: getattr(parts, tower) for tower, parts in folders.items()}
    for tower, path in paths.items():
        if path is None:
            raise ModelError(f"{named[tower]} has no {tower} tower")
    calibrations = {tower: parts.calibrations[tower] for tower, parts in folders.items() if tower in parts.calibrations}
    return ModelFolders(" + ".join(named.values()), paths.get("text"), paths.get("image"), {}, calibrations)


def from_folder(path: Path, name: str) -> ModelFolders:
    """Find the towers in a folder: babelclip's own form, a CLIP pair in one folder, or one tower alone.

    :param path: a folder that is there
    :param name: what to call it
    :return: where its towers are
    :raises LayoutError: if its babelclip.json cannot be used
    """
    if (path / MANIFEST).is_file():
        manifest = read_json(path / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise LayoutError(f"{path / MANIFEST} is not of format {FORMAT}; a newer babelclip may read it")
        files = {tower: path / CALIBRATIONS / f"{tower}.safetensors" for tower in ("text", "image")}
        calibrations = {tower: file for tower, file in files.items() if file.is_file()}
        return ModelFolders(name, path / "text", path / "image", manifest, calibrations)
    config = encoder_folder(path) / "config.json"
    kind = read_json(config).get("model_type") if config.is_file() else None
    if kind in ("clip_vision_model", "efficientnet-lite"):
        return ModelFolders(name, None, path, {})
    return ModelFolders(name, path, path if kind == "clip" else None, {})


def names() -> Iterator[tuple[str, Path | None]]:
    """List the models that have a name, and their folders.

    :yield: a name, and its folder or None where it was not pulled yet
    """
    for folder in sorted(BUNDLED.iterdir()) if BUNDLED.is_dir() else []:
        if (folder / MANIFEST).is_file():
            yield folder.name, folder
    known: set[str] = set()
    for name, repositories in PAIRS.items():
        known.update(repositories)
        here = all(hub.is_pulled(hub.local_folder(repository)) for repository in repositories)
        yield name, hub.local_folder(repositories[0]) if here else None
    for record in sorted(settings().models.glob(f"*/{hub.RECORD}")):
        repository = str(json.loads(record.read_text(encoding="utf-8")).get("repository", record.parent.name))
        if repository not in known:
            yield repository, record.parent


def fingerprint(folders: ModelFolders) -> str:
    """Compute the digest of both towers' files; vectors are comparable only within one fingerprint.

    Two things change vectors within a bound that is far below the differences between photos, and do not count, so that
    an index made with one setting can be searched with another: int8 (least cosine with float32 at least
    ``quantize.LEAST_COSINE``) and reduced decoding of large JPEGs (BABELCLIP_REDUCED_DECODING; least cosine with full
    decoding at least 0.999, measured in tests/models/test_model.py).

    :param folders: the model
    :return: 64 hexadecimal digits
    """
    towers = [tower for tower in (folders.text, folders.image) if tower is not None]
    stated = [folders.manifest["files"]] if folders.manifest else [_checksums(tower) for tower in towers]
    digest = hashlib.sha256()
    for checksums in stated:
        for name in sorted(checksums):
            if name.endswith(".md") or name.startswith(f"{CALIBRATIONS}/"):
                continue
            digest.update(f"{name} {checksums[name]}\n".encode())
    return digest.hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    """The checksums of a tower's files: as its pull recorded them, else computed from the files."""
    if (folder / hub.RECORD).is_file():
        return dict(read_json(folder / hub.RECORD)["files"])
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix in _FINGERPRINTED)
    return {path.relative_to(folder).as_posix(): hub.sha256(path) for path in files}

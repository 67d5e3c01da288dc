"""Pulling a model from the Hugging Face hub: pinned to a commit, every file checked, whole or not at all.

Downloads resume: the files of an unfinished pull stay in ``NAME.partial`` and only what is missing is fetched again.
``pulled.json`` in the finished folder records the repository, the commit and the sha256 of every file.
"""

import fnmatch
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from babelclip.checkpoints.layouts import MANIFEST, read_json
from babelclip.errors import DownloadError
from babelclip.settings import settings

RECORD = "pulled.json"
_CHUNK_BYTES = 2**20

_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model*.bin")
_LEFT_OUT = ("onnx/*", "openvino/*", "tf_*", "flax_*", "rust_*", "coreml/*", ".*", "README*", "*.msgpack", "*.h5")


def local_folder(repository: str) -> Path:
    """Where a repository is kept.

    :param repository: owner/name
    :return: the folder, whether it is there or not
    """
    return settings().models / repository.replace("/", "--")


def sha256(path: Path) -> str:
    """The checksum of a file.

    :param path: the file
    :return: 64 hexadecimal digits
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_blob_sha1(path: Path) -> str:
    """What git calls a file: the hub states this for the small files that it keeps in git itself."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _wanted(names: list[str]) -> list[str]:
    """The files that babelclip reads; of the weights the safetensors where a folder has both forms."""
    kept = [
        name
        for name in names
        if any(fnmatch.fnmatch(name, pattern) for pattern in _WANTED)
        and not any(fnmatch.fnmatch(name, pattern) for pattern in _LEFT_OUT)
    ]
    safe = {Path(name).parent for name in kept if name.endswith(".safetensors")}
    return [name for name in kept if not (name.endswith(".bin") and Path(name).parent in safe)]


def pull(repository: str, revision: str | None = None) -> Path:
    """Fetch a model, or find that it is there.

    :param repository: owner/name on the hub
    :param revision: a commit, tag or branch; None means the newest, at the first pull
    :return: the local folder, complete and checked
    :raises DownloadError: if the hub cannot be reached, has no such model, or sends the wrong bytes
    """
    target = local_folder(repository)
    record = _record(target)
    if record and revision in (None, record["commit"]):
        return target
    from huggingface_hub import HfApi, snapshot_download

    partial = target.with_name(target.name + ".partial")
    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
        names = _wanted(list(siblings))
        snapshot_download(repository, revision=info.sha, local_dir=partial, allow_patterns=names)
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        raise DownloadError(_explain(repository, revision, error)) from None
    checksums: dict[str, str] = {}
    for name in names:
        checksums[name] = _check(partial / name, siblings[name], repository)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    content = {"repository": repository, "commit": info.sha, "files": checksums}
    (partial / RECORD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _replace(partial, target)
    return target


def _record(folder: Path) -> dict[str, Any] | None:
    """What a finished pull wrote, or None."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record.get("files"), dict) and "commit" in record else None


def _check(path: Path, sibling: Any, repository: str) -> str:
    """The sha256 of a file whose bytes are those that the hub states; a wrong file is deleted."""
    content = sha256(path)
    # Large files are stated by their sha256, those that git keeps itself by git's own name for them.
    found, stated = (content, sibling.lfs.sha256) if sibling.lfs else (_git_blob_sha1(path), sibling.blob_id)
    if stated is not None and stated != found:
        path.unlink()
        raise DownloadError(
            f"{repository}: {path.name} came with checksum {found}, not {stated}; it was deleted, pull again"
        )
    return content


def _replace(partial: Path, target: Path) -> None:
    """Put the finished folder in its place; an older pull gives way."""
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _explain(repository: str, revision: str | None, error: Exception) -> str:
    """One sentence on what went wrong, and the way out."""
    from huggingface_hub import errors

    at = f" at revision {revision}" if revision else ""
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return f"the hub has no model {repository}{at} (or it is private: set HF_TOKEN)"
    return (
        f"cannot pull {repository}{at}: {type(error).__name__}: {error}. Is the network there? What was fetched "
        "is kept, and the same command goes on. Offline, copy the folder by hand and load it by its path."
    )


def damaged_files(folder: Path) -> list[str]:
    """The files of a pulled or bundled model that are missing or changed.

    :param folder: a folder with pulled.json or babelclip.json
    :return: their names, none where all is well
    """
    record = _record(folder)
    if record is None:
        record = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {"files": {}}
    files: dict[str, str] = record["files"]
    return [name for name, digest in files.items() if not (folder / name).is_file() or sha256(folder / name) != digest]

"""Models from the Hugging Face hub: pinned to a commit, every file checked, complete or not there at all.

Files are downloaded to the cache of the hub client (``HF_HOME``), which other programs share and which resumes broken
downloads. HOME/models/OWNER--NAME holds a link to each file (a copy where links are not possible) and ``pulled.json``:
the repository, the commit and the sha256 of every file.
"""

import errno
import fnmatch
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from babelclip.checkpoints.layouts import MANIFEST, read_json
from babelclip.errors import DownloadError
from babelclip.settings import settings

RECORD = "pulled.json"
_CHUNK_BYTES = 2**20

_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model*.bin")
_UNWANTED = ("onnx/*", "openvino/*", "tf_*", "flax_*", "rust_*", "coreml/*", ".*", "README*", "*.msgpack", "*.h5")
# One of these lies at the root of every repository that can be read.
_ROOT_FILES = ("config.json", "modules.json")


def local_folder(repository: str) -> Path:
    """Give the folder of a pulled repository.

    :param repository: owner/name
    :return: the folder, whether it exists or not
    """
    return settings().models / repository.replace("/", "--")


def is_pulled(folder: Path) -> bool:
    """Check whether a pull finished, and whether the files that it linked are still in the cache.

    :param folder: as ``local_folder`` gives it
    :return: whether every recorded file exists
    """
    record = _record(folder)
    return record is not None and all((folder / name).is_file() for name in record["files"])


def sha256(path: Path) -> str:
    """Compute the checksum of a file.

    :param path: the file
    :return: 64 hexadecimal digits
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_blob_sha1(path: Path) -> str:
    """Compute git's name of a file, which is what the hub states for small files that are kept in git."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _wanted(names: list[str]) -> list[str]:
    """The files that babelclip reads; safetensors only, if a folder has its weights in both forms."""
    kept = [
        name
        for name in names
        if any(fnmatch.fnmatch(name, pattern) for pattern in _WANTED)
        and not any(fnmatch.fnmatch(name, pattern) for pattern in _UNWANTED)
    ]
    safe = {Path(name).parent for name in kept if name.endswith(".safetensors")}
    return [name for name in kept if not (name.endswith(".bin") and Path(name).parent in safe)]


def pull(repository: str, revision: str | None = None) -> Path:
    """Download a model, unless it is there.

    With ``HF_HUB_OFFLINE=1`` a model is taken from the hub client's cache, as another program left it there.

    :param repository: owner/name on the hub
    :param revision: a commit, tag or branch; None means the newest at the first pull
    :return: the local folder, complete and checked
    :raises DownloadError: if the hub cannot be reached, has no such model, or sends the wrong bytes
    """
    target = local_folder(repository)
    record = _record(target)
    if record and revision in (None, record["commit"]) and is_pulled(target):
        return target
    from huggingface_hub import constants

    pinned = record["commit"] if record and revision is None else revision
    if constants.HF_HUB_OFFLINE:
        commit, files = _cached_files(repository, pinned)
        stated = {name: _name_of_blob(path) for name, path in files.items()}
    else:
        commit, files, stated = _download(repository, pinned)
    checksums = {name: _check(path, stated[name], repository) for name, path in files.items()}
    _write_folder(target, files, {"repository": repository, "commit": commit, "files": checksums})
    return target


def _download(repository: str, revision: str | None) -> tuple[str, dict[str, Path], dict[str, str | None]]:
    """Download what the cache lacks: the commit, the files in the cache, and the checksums that the hub states."""
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
        names, commit = _wanted(list(siblings)), str(info.sha)
        # The cache may be read-only, which is no obstacle if it has everything.
        found = {name: try_to_load_from_cache(repository, name, revision=commit) for name in names}
        missing = [name for name, path in found.items() if not isinstance(path, str)]
        if missing:
            # By the name of the revision, so that the cache learns its commit and can answer offline.
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=missing))
            if folder.name != commit:
                raise DownloadError(f"{repository} changed from {commit} to {folder.name} meanwhile; pull again")
            found.update({name: str(folder / name) for name in missing})
    except DownloadError:
        raise
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        raise DownloadError(_explain(repository, revision, error)) from None
    # Large files are stated by their sha256, those that are kept in git by git's own name for them.
    stated = {name: lfs.sha256 if (lfs := siblings[name].lfs) else siblings[name].blob_id for name in names}
    return commit, {name: Path(str(found[name])) for name in names}, stated


def _cached_files(repository: str, revision: str | None) -> tuple[str, dict[str, Path]]:
    """The commit and the files of a model that the cache has, without asking the hub."""
    from huggingface_hub import constants, try_to_load_from_cache

    paths = (try_to_load_from_cache(repository, name, revision=revision) for name in _ROOT_FILES)
    root = next((Path(path).parent for path in paths if isinstance(path, str)), None)
    at = f" at revision {revision}" if revision else ""
    advice = "Unset HF_HUB_OFFLINE to download it, set HF_HOME to a cache that has it, or load a copy by its path."
    if root is None:
        raise DownloadError(f"HF_HUB_OFFLINE is set, and {constants.HF_HUB_CACHE} has no {repository}{at}. {advice}")
    names = _wanted([path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()])
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise DownloadError(f"HF_HUB_OFFLINE is set, and {root} has no weights of {repository}. {advice}")
    return root.name, {name: root / name for name in sorted(names)}


def _name_of_blob(path: Path) -> str | None:
    """The checksum that the cache states by the name of the file that a link leads to; None if it is no link."""
    blob = path.resolve()
    is_checksum = re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name)
    return blob.name if is_checksum and blob.parent.name == "blobs" and path.is_symlink() else None


def _record(folder: Path) -> dict[str, Any] | None:
    """What a finished pull recorded, or None."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record.get("files"), dict) and "commit" in record else None


def _check(path: Path, stated: str | None, repository: str) -> str:
    """The sha256 of a file, if the stated checksum (sha256, or git's sha1) is its own; a wrong file is deleted."""
    content = sha256(path)
    actual = content if stated is None or len(stated) == len(content) else _git_blob_sha1(path)
    if stated in (None, actual):
        return content
    try:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{repository}: {path} has checksum {actual}, not {stated}, and cannot be deleted ({error.strerror}); "
            "delete it, or set HF_HOME to another folder, and pull again"
        ) from None
    raise DownloadError(
        f"{repository}: {path.name} came with checksum {actual}, not {stated}; it was deleted, pull again"
    )


def _write_folder(target: Path, files: Mapping[str, Path], record: Mapping[str, Any]) -> None:
    """Write the folder of links and the record, complete or not at all; an older pull is replaced."""
    draft = target.with_name(f"{target.name}.{secrets.token_hex(8)}")
    old = draft.with_suffix(".old")
    try:
        for name, path in files.items():
            link = draft / name
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                link.symlink_to(path.absolute())
            except OSError:
                shutil.copyfile(path, link)
        (draft / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if target.exists():
            target.rename(old)
        draft.rename(target)
    except OSError as error:
        raise DownloadError(f"{record['repository']}: cannot write {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _explain(repository: str, revision: str | None, error: Exception) -> str:
    """One sentence on what went wrong, and the way out."""
    from huggingface_hub import constants, errors

    at = f" at revision {revision}" if revision else ""
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return f"the hub has no model {repository}{at} (or it is private: set HF_TOKEN)"
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return (
            f"cannot pull {repository}{at}: {constants.HF_HUB_CACHE} lacks some of its files and cannot be written "
            f"({error.strerror}). Set HF_HOME to a folder that can."
        )
    return (
        f"cannot pull {repository}{at}: {type(error).__name__}: {error}. Is the network there? What was downloaded "
        "is kept, and the same command continues. Offline, copy the folder by hand and load it by its path."
    )


def damaged_files(folder: Path) -> list[str]:
    """List the files of a pulled or bundled model that are missing or changed.

    :param folder: a folder with pulled.json or babelclip.json
    :return: their names, none if all match their checksums
    """
    record = _record(folder)
    if record is None:
        record = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {"files": {}}
    files: dict[str, str] = record["files"]
    return [name for name, digest in files.items() if not (folder / name).is_file() or sha256(folder / name) != digest]

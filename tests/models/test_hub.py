"""The real pulling code against a hub on loopback that speaks the part of the protocol it needs."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from babelclip.errors import DownloadError, ModelNotFoundError
from babelclip.models import hub, registry

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = b"weights " * 50_000
FILES = {
    "config.json": b'{"model_type": "distilbert"}',
    "1_Pooling/config.json": b"{}",
    "model.safetensors": LARGE,
    "pytorch_model.bin": b"the other form",
    "onnx/model.onnx": b"not wanted",
    "README.md": b"not wanted",
}


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """One repository, owner/model, at one commit."""

    served: list[str]
    lie_about: str
    cut_after: int
    address: str

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/model"):
            return self.send_info(body=body)
        name = path.removeprefix(f"/owner/model/resolve/{COMMIT}/")
        if name not in FILES:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if "owner/model" in path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return self.send_file(name, body=body)

    def send_info(self, *, body: bool) -> None:
        siblings: list[dict[str, object]] = []
        tree: list[dict[str, object]] = []
        for name, content in FILES.items():
            digest = hashlib.sha256(b"" if name == self.lie_about else content).hexdigest()
            both = {"size": len(content), "pointerSize": 130}
            large = content is LARGE
            lfs: dict[str, object] = {"lfs": {"sha256": digest, **both}} if large else {}
            siblings.append({"rfilename": name, "size": len(content), "blobId": git_sha1(content), **lfs})
            lfs = {"lfs": {"oid": digest, **both}} if large else {}
            tree.append({"type": "file", "path": name, "size": len(content), "oid": git_sha1(content), **lfs})
        info = {"id": "owner/model", "sha": COMMIT, "siblings": siblings, "tags": []}
        raw = json.dumps(tree if "/tree/" in self.path else info).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if body:
            self.wfile.write(raw)

    def send_file(self, name: str, *, body: bool) -> None:
        content = FILES[name]
        start = 0
        if "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        part = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            Hub.served.append(f"{name}@{start}")
            if Hub.cut_after and content is LARGE:
                part, Hub.cut_after = part[: Hub.cut_after], 0
                self.wfile.write(part)
                self.wfile.flush()
                self.connection.close()
                return
            self.wfile.write(part)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub client's cache, empty."""
    folder = tmp_path / "huggingface" / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[type[Hub]]:
    Hub.served, Hub.lie_about, Hub.cut_after = [], "", 0
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.address = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    address = Hub.address
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", address, raising=False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield Hub
    listening.shutdown()
    listening.server_close()
    thread.join()


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_pull_brings_what_is_needed_and_records_commit_and_checksums(server: type[Hub]) -> None:
    folder = hub.pull("owner/model")
    assert folder == hub.local_folder("owner/model")
    assert names_in(folder) == {"config.json", "1_Pooling/config.json", "model.safetensors", "pulled.json"}
    assert (folder / "model.safetensors").read_bytes() == LARGE
    record = json.loads((folder / "pulled.json").read_text())
    assert record["commit"] == COMMIT
    assert record["files"]["model.safetensors"] == hashlib.sha256(LARGE).hexdigest()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert hub.damaged_files(folder) == []


def test_a_second_pull_asks_the_hub_nothing(server: type[Hub]) -> None:
    hub.pull("owner/model")
    served = len(server.served)
    hub.pull("owner/model")
    hub.pull("owner/model", COMMIT)
    assert len(server.served) == served


def test_wrong_bytes_are_deleted_and_never_become_a_model(server: type[Hub]) -> None:
    server.lie_about = "model.safetensors"
    with pytest.raises(DownloadError, match=r"model\.safetensors came with checksum .* pull again"):
        hub.pull("owner/model")
    assert not hub.local_folder("owner/model").exists()
    server.lie_about = ""
    assert (hub.pull("owner/model") / "model.safetensors").read_bytes() == LARGE


def test_an_interrupted_pull_goes_on_and_does_not_fetch_again_what_it_has(server: type[Hub]) -> None:
    server.lie_about = "model.safetensors"
    with pytest.raises(DownloadError):
        hub.pull("owner/model")
    server.lie_about = ""
    server.served.clear()
    hub.pull("owner/model")
    assert [name.split("@")[0] for name in server.served] == ["model.safetensors"]


def test_a_download_that_breaks_off_is_resumed_where_it_broke(server: type[Hub]) -> None:
    server.cut_after = 100_000
    folder = hub.pull("owner/model")
    assert (folder / "model.safetensors").read_bytes() == LARGE
    resumed = [int(name.split("@")[1]) for name in server.served if name.startswith("model.safetensors@")]
    assert len(resumed) == 2
    assert 0 < resumed[1] <= 100_000


def test_an_unknown_model_is_named(server: type[Hub]) -> None:
    with pytest.raises(DownloadError, match="the hub has no model owner/other"):
        hub.pull("owner/other")


def test_offline_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch, server: type[Hub]) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", "http://127.0.0.1:9", raising=False)
    with pytest.raises(DownloadError, match=r"cannot pull owner/model: .*load it by its path"):
        hub.pull("owner/model")


def test_files_are_shared_with_other_programs_through_the_cache(server: type[Hub], cache: Path) -> None:
    from huggingface_hub import snapshot_download

    theirs = Path(snapshot_download("owner/model"))
    server.served.clear()
    folder = hub.pull("owner/model")
    assert server.served == []
    assert (folder / "model.safetensors").samefile(theirs / "model.safetensors")
    assert (folder / "model.safetensors").resolve().is_relative_to(cache)


def test_a_model_whose_files_left_the_cache_counts_as_missing_and_is_pulled_at_its_commit(
    server: type[Hub], cache: Path
) -> None:
    folder = hub.pull("owner/model")
    assert hub.is_pulled(folder)
    assert [name for name, path in registry.names() if path] == ["mini", "owner/model"]
    shutil.rmtree(cache)
    assert not hub.is_pulled(folder)
    with pytest.raises(ModelNotFoundError, match="babelclip pull owner/model"):
        registry.find("owner/model")
    assert hub.pull("owner/model") == folder
    assert hub.damaged_files(folder) == []


def test_a_wrong_file_that_another_program_left_in_the_cache_is_deleted_and_fetched_again(server: type[Hub]) -> None:
    from huggingface_hub import snapshot_download

    theirs = Path(snapshot_download("owner/model"))
    (theirs / "config.json").resolve().write_bytes(b"{}")
    with pytest.raises(DownloadError, match=r"config\.json came with checksum .* pull again"):
        hub.pull("owner/model")
    assert (hub.pull("owner/model") / "config.json").read_bytes() == FILES["config.json"]


def test_a_copy_is_kept_where_links_are_not_possible(server: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    hub_client_is_ready = hub.pull("owner/model")
    shutil.rmtree(hub_client_is_ready)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = hub.pull("owner/model")
    assert not (folder / "model.safetensors").is_symlink()
    assert hub.damaged_files(folder) == []


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_offline_a_model_is_taken_from_the_cache_of_other_programs(
    server: type[Hub], request: pytest.FixtureRequest
) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download("owner/model")
    online = hub.pull("owner/model")
    record = json.loads((online / "pulled.json").read_text())
    shutil.rmtree(online)
    request.getfixturevalue("offline")
    folder = hub.pull("owner/model")
    assert json.loads((folder / "pulled.json").read_text())["commit"] == COMMIT
    assert json.loads((folder / "pulled.json").read_text())["files"] == record["files"]
    assert hub.pull("owner/model", COMMIT) == folder


@pytest.mark.usefixtures("offline")
def test_offline_a_pulled_model_is_there_and_another_is_explained(
    server: type[Hub], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = rf"HF_HUB_OFFLINE is set, and {re.escape(str(cache))} has no owner/model at revision v2\. Unset"
    with pytest.raises(DownloadError, match=message):
        hub.pull("owner/model", "v2")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    folder = hub.pull("owner/model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.pull("owner/model") == folder


def test_offline_a_wrong_file_in_the_cache_is_refused(server: type[Hub], request: pytest.FixtureRequest) -> None:
    from huggingface_hub import snapshot_download

    theirs = Path(snapshot_download("owner/model"))
    (theirs / "config.json").resolve().write_bytes(b"{}")
    request.getfixturevalue("offline")
    with pytest.raises(DownloadError, match=r"config\.json came with checksum"):
        hub.pull("owner/model")


def test_offline_a_cache_without_weights_is_explained(server: type[Hub], request: pytest.FixtureRequest) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download("owner/model", allow_patterns="config.json")
    request.getfixturevalue("offline")
    with pytest.raises(DownloadError, match=r"has no weights of owner/model\. Unset HF_HUB_OFFLINE"):
        hub.pull("owner/model")


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[None]:
    """Makes everything in the cache fail to be written, as on a read-only medium, for root too."""
    real_open, real_mkdir = os.open, os.mkdir

    def in_cache(path: object) -> bool:
        return isinstance(path, str | Path) and Path(path).is_relative_to(cache)

    def refuse_to_create(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if in_cache(path) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real_open(path, flags, *rest, **options)

    def refuse_folders(path: Any, *rest: Any, **options: Any) -> None:
        if in_cache(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        real_mkdir(path, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse_to_create)
        patched.setattr(os, "mkdir", refuse_folders)
        yield


def test_a_read_only_cache_that_has_the_model_is_enough(server: type[Hub], request: pytest.FixtureRequest) -> None:
    shutil.rmtree(hub.pull("owner/model"))
    server.served.clear()
    request.getfixturevalue("unwritable")
    folder = hub.pull("owner/model")
    assert server.served == []
    assert hub.damaged_files(folder) == []


def test_a_read_only_cache_that_lacks_the_model_is_explained(
    server: type[Hub], cache: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("unwritable")
    with pytest.raises(DownloadError, match=rf"{re.escape(str(cache))} lacks some of its files .* Set HF_HOME"):
        hub.pull("owner/model")


def test_the_hub_clients_variables_are_followed(server: type[Hub], home: Path, tmp_path: Path) -> None:
    variables = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "shared"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", "from babelclip.models.hub import pull; print(pull('owner/model'))"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    subprocess.run(command, env={**clean, **variables}, check=True, capture_output=True)
    folder = hub.local_folder("owner/model")
    assert (folder / "model.safetensors").resolve().is_relative_to(tmp_path / "shared" / "hub")
    shutil.rmtree(home)
    server.served.clear()
    offline = {**clean, **variables, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    subprocess.run(command, env=offline, check=True, capture_output=True)
    assert server.served == []
    assert hub.damaged_files(folder) == []


def test_changed_and_missing_files_are_found(server: type[Hub]) -> None:
    folder = hub.pull("owner/model")
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling/config.json").unlink()
    assert sorted(hub.damaged_files(folder)) == ["1_Pooling/config.json", "config.json"]

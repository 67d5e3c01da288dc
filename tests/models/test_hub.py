"""The real pulling code against a hub on loopback that speaks the part of the protocol it needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from babelclip.errors import DownloadError
from babelclip.models import hub

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
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.served, Hub.lie_about, Hub.cut_after = [], "", 0
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.server_port}"
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
    assert not folder.with_name(folder.name + ".partial").exists()
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


def test_changed_and_missing_files_are_found(server: type[Hub]) -> None:
    folder = hub.pull("owner/model")
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling/config.json").unlink()
    assert sorted(hub.damaged_files(folder)) == ["1_Pooling/config.json", "config.json"]

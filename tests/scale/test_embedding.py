import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from babelclip.errors import CatalogError, InputError, ModelMismatchError
from babelclip.models.model import Model
from babelclip.pipeline import ordered_map
from babelclip.scale.bulk import BulkReport, Pool, RayWorker, embed_all
from babelclip.scale.embedding import NO_VECTOR, BulkJob
from babelclip.scale.sources import ImageSource, find_kind, plan_shards
from babelclip.scale.vector_files import VectorFolder, VectorManifest, vectors_of
from tests.helpers.faults import FAULTS, Fault, dropped, fault_name, faulty

HERE = Pool(workers=0)
Embed = Callable[..., BulkReport]


def picture(seed: int, kind: str = "JPEG") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    opened = io.BytesIO()
    Image.fromarray(coarse).resize((64, 48)).save(opened, kind)
    return opened.getvalue()


def rows(folder: str | Path) -> list[dict[str, Any]]:
    vectors = VectorFolder(str(folder))
    return [row for path in vectors.shards() for batch in vectors.batches(path) for row in batch.to_pylist()]


@pytest.fixture
def clip(clip_folder: Path) -> Model:
    """The image side alone is enough, and can be named in one word."""
    return Model.load(clip_folder)


@pytest.fixture
def embed(clip: Model, clip_folder: Path, tmp_path: Path) -> Embed:
    def run(
        source: str | Path, *, target: str | None = None, column: str | None = None, a_shard: int = 2
    ) -> BulkReport:
        found = ImageSource(str(source), find_kind(str(source)), column)
        return embed_all(
            found, target or str(tmp_path / "out"), clip, pool=HERE, name=str(clip_folder), shard_files=a_shard
        )

    return run


def test_every_photo_of_a_folder_becomes_a_row_with_the_models_vector(
    embed: Embed, photos: Path, clip: Model, tmp_path: Path
) -> None:
    report = embed(photos)
    assert (report.shards, report.done, report.rows, report.errors) == (3, 3, 5, 0)
    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == sorted(str(path) for path in photos.rglob("*.*"))
    for row in found:
        path = Path(row["path"])
        np.testing.assert_allclose(row["vector"], clip.encode_images(path), atol=1e-3)
        assert (row["size"], row["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
        assert row["hash"] == hashlib.sha256(path.read_bytes()).digest()
        with Image.open(path) as image:
            assert (row["width"], row["height"]) == image.size


def test_what_a_photo_says_of_itself_is_in_its_row(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Canon", "EOS 5D"
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 30), "red").save(tmp_path / "in/a.jpg", exif=exif)
    embed(tmp_path / "in")
    (row,) = rows(tmp_path / "out")
    assert (row["width"], row["height"]) == (30, 40)
    assert "EOS 5D" in str(row["camera"])
    assert (row["taken_at"], row["keywords"]) == (None, [])


def test_what_cannot_be_read_is_in_the_error_table_and_nowhere_else(embed: Embed, photos: Path, tmp_path: Path) -> None:
    good = (photos / "a.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(good[: len(good) // 2])
    (photos / "empty.png").touch()
    (photos / "gone.jpg").symlink_to(photos / "nowhere")
    report = embed(photos)
    assert (report.rows, report.errors, report.failed) == (5, 3, [])
    failures = dict(VectorFolder(str(tmp_path / "out")).failures())
    assert {Path(path).name for path in failures} == {"cut.jpg", "empty.png", "gone.jpg"}
    assert all(failures.values())
    assert not {row["path"] for row in rows(tmp_path / "out")} & failures.keys()


@pytest.mark.parametrize("fault", FAULTS, ids=fault_name)
@pytest.mark.parametrize("stage", ["encoder", "decoder"])
def test_no_row_has_the_vector_of_another_picture_when_the_encoder_is_faulty(
    embed: Embed, clip: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, stage: str
) -> None:
    contents = [picture(i) for i in range(7)] + [b"no picture"]
    write_tar(tmp_path / "in.tar", {f"{i}.jpg": content for i, content in enumerate(contents)})
    with monkeypatch.context() as patched:
        if stage == "encoder":
            patched.setattr(Model, "stream_images", faulty(Model.stream_images, fault))
        else:
            patched.setattr("babelclip.models.model.ordered_map", faulty(ordered_map, fault))
        report = embed(tmp_path / "in.tar")
    kept = {int(row["path"].rpartition("#")[2][0]): row for row in rows(tmp_path / "out")}
    assert len(kept) == report.rows == (4 if fault is dropped else 7)
    for number, row in kept.items():
        assert row["hash"] == hashlib.sha256(contents[number]).digest()
        np.testing.assert_allclose(row["vector"], clip.encode_images(contents[number]), atol=1e-3)
    failures = dict(VectorFolder(str(tmp_path / "out")).failures())
    assert len(failures) == len(contents) - len(kept)
    assert set(failures) == {f"{tmp_path}/in.tar#{number}.jpg" for number in range(8) if number not in kept}
    assert list(failures.values()).count(NO_VECTOR) == (4 if fault is dropped else 0)


def test_names_that_are_not_text_are_reported_and_pipes_passed_over(embed: Embed, photos: Path, tmp_path: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    (photos / "a.jpg").rename(os.fsdecode(os.fsencode(photos) + b"/\xe9.jpg"))
    report = embed(photos)
    assert (report.rows, report.errors) == (4, 1)
    (error,) = pq.read_table(next((tmp_path / "out/errors").iterdir())).to_pylist()
    assert error["path"] == rf"{photos}/\udce9.jpg"


def test_a_second_run_does_what_is_missing_and_new_and_nothing_else(embed: Embed, photos: Path, tmp_path: Path) -> None:
    embed(photos)
    (tmp_path / "out/vectors/000001.parquet").unlink()
    (photos / "aa.jpg").write_bytes(picture(7))
    report = embed(photos)
    assert (report.shards, report.skipped, report.done, report.rows) == (4, 2, 2, 3)
    assert Counter(row["path"] for row in rows(tmp_path / "out")) == Counter(str(p) for p in photos.rglob("*.*"))
    assert embed(photos).skipped == 4


def test_a_run_that_is_ended_leaves_no_half_of_a_shard(
    embed: Embed, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("babelclip.scale.embedding.table_of", ended)
        with pytest.raises(KeyboardInterrupt):
            embed(photos)
    assert [path.name for path in (tmp_path / "out/vectors").iterdir()] == []
    assert embed(photos).rows == 5


def test_another_model_or_source_is_refused(embed: Embed, photos: Path, tmp_path: Path) -> None:
    embed(photos)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.jpg").write_bytes(picture(1))
    with pytest.raises(CatalogError, match=r"was started with source .*photos, not .*other"):
        embed(tmp_path / "other")
    mini = Model.load()
    with pytest.raises(ModelMismatchError, match=r"not by mini .* or give a new folder"):
        embed_all(ImageSource(str(photos), "photos"), str(tmp_path / "out"), mini, pool=HERE, name="mini")


def test_a_folder_with_files_of_others_is_not_written_to(embed: Embed, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "out/mine.parquet")
    with pytest.raises(CatalogError, match="holds Parquet files but no manifest"):
        embed(photos)


def test_parquet_with_bytes_keeps_its_other_columns_as_metadata(embed: Embed, tmp_path: Path) -> None:
    table = pa.table({"jpg": [picture(1), b"no", None], "caption": ["ein Hund", "x", "y"], "n": [1, 2, None]})
    pq.write_table(table, tmp_path / "in.parquet")
    report = embed(tmp_path / "in.parquet")
    assert (report.rows, report.errors) == (1, 2)
    (row,) = rows(tmp_path / "out")
    assert row["path"] == f"{tmp_path}/in.parquet#0"
    assert json.loads(row["metadata"]) == {"caption": "ein Hund", "n": 1}
    failures = dict(VectorFolder(str(tmp_path / "out")).failures())
    assert failures[f"{tmp_path}/in.parquet#2"] == "column jpg holds neither bytes nor a URL"


def test_the_image_form_of_datasets_is_read(embed: Embed, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [{"bytes": picture(1), "path": "x.jpg"}]}), tmp_path / "in.parquet")
    assert embed(tmp_path / "in.parquet").rows == 1


def test_a_column_that_is_not_there_is_named(embed: Embed, tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo": [picture(1)]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"but photo; name one with --column"):
        embed(tmp_path / "in.parquet")
    assert embed(tmp_path / "in.parquet", column="photo").rows == 1


@pytest.fixture
def web() -> Iterator[str]:
    """A web server with a picture, a page, and a picture that comes at the second try."""
    tries: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tries[self.path] += 1
            status = {"/missing.jpg": 404, "/flaky.jpg": 503 if tries[self.path] == 1 else 200}.get(self.path, 200)
            body = b"<html>" if self.path == "/page" else picture(3)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_parquet_with_urls_is_fetched_and_failures_are_told(embed: Embed, tmp_path: Path, web: str) -> None:
    (tmp_path / "local.jpg").write_bytes(picture(4))
    urls = [f"{web}/{name}" for name in ("a.jpg", "flaky.jpg", "missing.jpg", "page")]
    urls += ["http://127.0.0.1:1/x.jpg", str(tmp_path / "local.jpg"), str(tmp_path / "none.jpg")]
    pq.write_table(pa.table({"url": urls}), tmp_path / "in.parquet")
    report = embed(tmp_path / "in.parquet")
    assert {row["path"] for row in rows(tmp_path / "out")} == {urls[0], urls[1], urls[5]}
    failures = dict(VectorFolder(str(tmp_path / "out")).failures())
    assert report.errors == 4
    assert failures[urls[2]] == "HTTP 404"
    assert "not a picture" in failures[urls[3]]
    assert "cannot be fetched" in failures[urls[4]]
    assert failures[urls[6]] == "no such file"


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_webdataset_samples_bring_their_texts_and_json(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_tar(
        tmp_path / "in/000.tar",
        {
            "a/1.jpg": picture(1),
            "a/1.txt": "собака".encode(),
            "a/1.json": b'{"licence": "CC0"}',
            "a/2.txt": b"no picture here",
            "a/3.png": picture(3, "PNG"),
            "a/3.json": b"{broken",
        },
    )
    write_tar(tmp_path / "in/001.tar", {"4.jpg": picture(4), "5.jpg": b"damaged"})
    report = embed(tmp_path / "in")
    assert (report.shards, report.rows, report.errors) == (2, 3, 2)
    found = {row["path"]: row["metadata"] for row in rows(tmp_path / "out")}
    assert json.loads(found[f"{tmp_path}/in/000.tar#a/1.jpg"]) == {"txt": "собака", "licence": "CC0"}
    assert found[f"{tmp_path}/in/000.tar#a/3.png"] is None
    failures = dict(VectorFolder(str(tmp_path / "out")).failures())
    assert failures[f"{tmp_path}/in/000.tar#a/2"] == "no picture in this sample"


@pytest.mark.parametrize("name", ["cut.tar", "no.tar", "no.parquet"])
def test_a_damaged_file_is_an_error_row_and_its_good_part_counts(embed: Embed, tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "whole.tar", {f"{i}.bmp": picture(i, "BMP") for i in range(4)})
    whole = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(whole[:22_000] if name == "cut.tar" else b"nothing of the kind" * 100)
    report = embed(tmp_path / "in")
    assert (report.rows, report.errors) == (2 if name == "cut.tar" else 0, 1)
    ((path, reason),) = VectorFolder(str(tmp_path / "out")).failures()
    assert path == str(tmp_path / "in" / name)
    assert "damaged" in reason


def test_an_object_store_is_read_and_written_through_fsspec(embed: Embed) -> None:
    store = fsspec.filesystem("memory")
    for i in range(3):
        store.pipe(f"/bucket/photos/{i}.jpg", picture(i))
    report = embed("memory://bucket/photos", target="memory://bucket/out")
    assert (report.shards, report.rows) == (2, 3)
    assert [row["path"] for row in rows("memory://bucket/out")] == [
        f"memory:///bucket/photos/{i}.jpg" for i in range(3)
    ]
    assert not [path for path in store.find("/bucket/out") if path.endswith(".partial")]
    assert embed("memory://bucket/photos", target="memory://bucket/out").skipped == 2
    store.rm("/bucket", recursive=True)


def test_a_source_must_be_of_one_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_kind(str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"holds no photos, \.parquet or \.tar files"):
        find_kind(str(tmp_path))
    (tmp_path / "a.jpg").write_bytes(picture(1))
    write_tar(tmp_path / "a.tar", {})
    with pytest.raises(InputError, match=r"1 photos, 1 webdataset.*--kind"):
        find_kind(str(tmp_path))


def test_a_plan_only_grows() -> None:
    first = plan_shards(["a", "b", "c"], [], shard_size=2)
    assert first == [["a", "b"], ["c"]]
    assert plan_shards(["a", "aa", "c", "d", "e"], first, shard_size=2) == [["a", "b"], ["c"], ["aa", "d"], ["e"]]


def test_files_say_what_they_are_and_hold_float16_lists_of_fixed_length(
    embed: Embed, photos: Path, clip: Model, tmp_path: Path
) -> None:
    embed(photos)
    schema = pq.read_schema(tmp_path / "out/vectors/000000.parquet")
    assert schema.field("vector").type == pa.list_(pa.float16(), clip.dimension)
    assert schema.metadata[b"babelclip.fingerprint"].decode() == clip.fingerprint
    batch = next(VectorFolder(str(tmp_path / "out")).batches(str(tmp_path / "out/vectors/000000.parquet")))
    np.testing.assert_allclose(np.linalg.norm(vectors_of(batch), axis=1), 1, atol=1e-3)


def test_a_worker_with_another_model_says_so_instead_of_writing(
    clip_folder: Path, photos: Path, tmp_path: Path
) -> None:
    manifest = VectorManifest("m", "0" * 64, 16, "float16", str(photos), "photos")
    job = BulkJob(
        ImageSource(str(photos), "photos"), str(tmp_path / "out"), manifest, str(clip_folder), None, "float32", 1
    )
    answer = RayWorker(job)({"shard": np.array([0]), "files": [np.array([str(photos / "a.jpg")])]})
    assert answer["fatal"] == [True]
    assert "install the same on every machine" in answer["failed"][0]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time_and_every_row_is_there_once(
    photos: Path, clip_folder: Path, tmp_path: Path
) -> None:
    for i in range(60):
        (photos / f"{i:03d}.jpg").write_bytes(picture(i))
    (photos / "bad.jpg").write_bytes(b"bad")
    command = [sys.executable, "-m", "babelclip", "scale", "embed", str(photos), str(tmp_path / "out"), "--json"]
    command += ["--workers", "2", "--shard-files", "3", "--model", str(clip_folder)]
    killed: list[int] = []
    reports: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            reports.append(json.loads(line))
            if not killed:
                killed.append(int(reports[0]["worker"]))
                os.kill(killed[0], signal.SIGKILL)
        said = run.stderr.read() if run.stderr else ""
    assert run.returncode == 0, said
    workers = {report["worker"] for report in reports[:-1]}
    assert workers > set(killed)
    assert reports[-1]["rows"] == 65
    paths = Counter(row["path"] for row in rows(tmp_path / "out"))
    assert paths == Counter(str(path) for path in photos.rglob("*.*") if path.name != "bad.jpg")
    assert [Path(path).name for path, _ in VectorFolder(str(tmp_path / "out")).failures()] == ["bad.jpg"]
    assert not list((tmp_path / "out").rglob("*.partial"))

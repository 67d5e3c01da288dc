"""What pictures come from: photos in folders, Parquet with bytes or URLs, webdataset tars."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from babelclip.errors import ImageError, InputError
from babelclip.media.crawl import PHOTO_SUFFIXES
from babelclip.media.images import register_formats
from babelclip.media.metadata import METADATA_ERRORS, Metadata, read_metadata
from babelclip.pipeline import ordered_map
from babelclip.scale.fetching import Fetcher
from babelclip.scale.places import Place, local_photos, open_place
from babelclip.settings import settings

Kind = Literal["photos", "parquet", "webdataset"]
KINDS: tuple[Kind, ...] = ("photos", "parquet", "webdataset")
SUFFIXES: dict[Kind, frozenset[str]] = {
    "photos": PHOTO_SUFFIXES,
    "parquet": frozenset((".parquet",)),
    "webdataset": frozenset((".tar",)),
}
IMAGE_COLUMNS = ("image", "bytes", "jpg", "url", "image_url", "uri", "path")
"""Where the pictures of a Parquet file are, if no column is named: the first of these that is there."""
READERS = 16
READ_AHEAD = 32
"""Files that are read or fetched at once, and that may wait for the model: they come from slow places."""
PARQUET_ROWS = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it came: its name, the bytes of its file, what it says of itself, and what else was said of it."""

    path: str
    content: bytes
    hash: bytes
    mtime_ns: int | None
    facts: Metadata
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that gives no picture, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where pictures come from. ``column`` holds them in a Parquet file; None takes the first of IMAGE_COLUMNS."""

    name: str
    kind: Kind
    column: str | None = None


def find_kind(name: str) -> Kind:
    """What kind of source a path or URL is.

    :param name: a file, a folder or a URL of one
    :return: the one kind that is there
    :raises InputError: if there is none of them, or more than one
    """
    place = open_place(name)
    if not place.exists(place.path):
        raise InputError(f"{name}: no such file or folder")
    if place.is_file():
        kinds = [kind for kind in KINDS if Path(place.path).suffix.lower() in SUFFIXES[kind]]
        if not kinds:
            raise InputError(f"{name} is neither a photo, nor .parquet, nor .tar")
        return kinds[0]
    counts = {kind: len(place.files(SUFFIXES[kind])) for kind in KINDS}
    found = [kind for kind in KINDS if counts[kind]]
    if not found:
        raise InputError(f"{name} holds no photos, no .parquet and no .tar files")
    if len(found) > 1:
        what = ", ".join(f"{counts[kind]} {kind}" for kind in found)
        raise InputError(f"{name} holds files of several kinds ({what}); say which with --kind")
    return found[0]


def find_files(source: Source) -> list[str]:
    """The files of a source: photos, or Parquet files, or tars.

    :param source: where
    :return: paths in its file system, in order
    :raises InputError: if there are none
    """
    place = open_place(source.name)
    if place.is_file():
        return [place.path]
    if source.kind == "photos" and not place.prefix:
        files = local_photos(Path(place.path))
    else:
        files = place.files(SUFFIXES[source.kind])
    if not files:
        raise InputError(f"{source.name} holds no {source.kind}")
    return [file.path for file in files]


def plan(files: Sequence[str], known: Sequence[Sequence[str]], *, a_shard: int) -> list[list[str]]:
    """Which file is in which shard: what was planned stays, new files are shards after it.

    :param files: all files, in order
    :param known: the shards of an earlier plan
    :param a_shard: how many files a new shard has at most
    :return: the shards
    """
    planned = {file for shard in known for file in shard}
    new = [file for file in files if file not in planned]
    shards = [list(shard) for shard in known]
    return shards + [new[start : start + a_shard] for start in range(0, len(new), a_shard)]


def pictures(source: Source, files: Sequence[str]) -> Iterator[Picture | Unreadable]:
    """The pictures of a shard, in order; reading runs ahead, and no more than a few wait.

    :param source: where they are
    :param files: the shard's files
    :yield: every picture, or why a row gives none
    :raises OSError: if a tar or Parquet file cannot be reached; one that is damaged is a row that gives no picture
    """
    place = open_place(source.name)
    if source.kind == "photos":
        for _, picture in ordered_map(lambda path: _photo(place, path), files, workers=READERS, ahead=READ_AHEAD):
            yield picture
        return
    for file in files:
        yield from _tar(place, file) if source.kind == "webdataset" else _parquet(place, file, source.column)


def _picture(path: str, content: bytes, metadata: dict[str, Any] | None = None, mtime_ns: int | None = None) -> Picture:
    """A picture from the bytes of its file."""
    return Picture(path, content, hashlib.sha256(content).digest(), mtime_ns, _facts(content), metadata or {})


def _facts(content: bytes) -> Metadata:
    """What a picture says of itself; one that cannot be opened says nothing, and encoding it will say why."""
    register_formats()
    with suppress(*METADATA_ERRORS), Image.open(io.BytesIO(content)) as image:
        return read_metadata(image)
    return Metadata()


def _photo(place: Place, path: str) -> Picture | Unreadable:
    """One file as a picture."""
    name, limit = place.name(path), settings().max_image_bytes
    try:
        info = place.filesystem.get_file_info(path)
        if (info.size or 0) > limit:
            return Unreadable(name, f"{info.size} bytes, over the limit of {limit} (BABELCLIP_MAX_IMAGE_BYTES)")
        with place.filesystem.open_input_stream(path) as stream:
            return _picture(name, stream.read(), mtime_ns=info.mtime_ns)
    except FileNotFoundError:
        return Unreadable(name, "no such file")
    except OSError as error:
        return Unreadable(name, str(error))


def _text(name: str) -> str:
    """A name that can be kept as UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _parquet(place: Place, file: str, column: str | None) -> Iterator[Picture | Unreadable]:
    """The rows of a Parquet file; its other columns are metadata."""
    name = place.name(file)
    try:
        with place.filesystem.open_input_file(file) as stream, Fetcher() as fetcher:
            table = pq.ParquetFile(stream)
            chosen = _image_column(name, table.schema_arrow.names, column)
            rows = (
                (f"{name}#{number}", row)
                for number, row in enumerate(
                    row for batch in table.iter_batches(batch_size=PARQUET_ROWS) for row in batch.to_pylist()
                )
            )
            for _, picture in ordered_map(
                lambda row: _parquet_row(fetcher, chosen, *row), rows, workers=READERS, ahead=READ_AHEAD
            ):
                yield picture
    except pa.ArrowInvalid as error:
        yield Unreadable(name, f"the Parquet file is damaged: {error}")


def _image_column(name: str, columns: Sequence[str], wanted: str | None) -> str:
    """The column of the pictures."""
    candidates = IMAGE_COLUMNS if wanted is None else (wanted,)
    found = [candidate for candidate in candidates if candidate in columns]
    if not found:
        raise InputError(
            f"{name} has none of the columns {', '.join(candidates)} but {', '.join(columns)}; name one with --column"
        )
    return found[0]


def _parquet_row(fetcher: Fetcher, column: str, name: str, row: dict[str, Any]) -> Picture | Unreadable:
    """A picture from a row: bytes, a URL or path, or the {bytes, path} that the datasets library writes."""
    value = row.pop(column)
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return _picture(name, value, row)
    if not isinstance(value, str) or not value:
        return Unreadable(name, f"column {column} holds neither bytes nor a URL")
    try:
        return _picture(value, fetcher.fetch(value), {**row, "row": name})
    except ImageError as error:
        return Unreadable(_text(value), str(error))


def _tar(place: Place, file: str) -> Iterator[Picture | Unreadable]:
    """The samples of a webdataset tar: members of one key that follow each other."""
    name = place.name(file)
    with place.filesystem.open_input_stream(file) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|*") as tar:
                members = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
                for key, sample in groupby(members, key=lambda member: _key(member[0])):
                    yield _sample(name, key, {path: _member(path, opened) for path, opened in sample})
        except (tarfile.TarError, EOFError) as error:
            yield Unreadable(name, f"the tar is damaged, what stands behind is lost: {error}")


def _key(member: str) -> str:
    """What members of one sample share: the path up to the first dot of the file's name."""
    folder, slash, name = member.rpartition("/")
    return folder + slash + name.split(".", 1)[0]


def _member(path: str, opened: Any) -> bytes | None:
    """The content of a member; None where it is too large."""
    limit = settings().max_image_bytes
    content: bytes = opened.read(limit + 1)
    return content if len(content) <= limit else None


def _sample(tar: str, key: str, members: dict[str, bytes | None]) -> Picture | Unreadable:
    """A picture and what stands beside it: .json is metadata, .txt a text, .cls a class."""
    metadata: dict[str, Any] = {}
    picture: str | None = None
    for path, content in members.items():
        suffix = path[path.rfind(".") :].lower()
        if suffix in PHOTO_SUFFIXES and picture is None:
            picture = path
        elif suffix == ".json" and content is not None:
            metadata.update(_json_object(content))
        elif suffix in (".txt", ".cls") and content is not None:
            metadata[suffix[1:]] = content.decode("utf-8", "replace").strip()
    if picture is None:
        return Unreadable(_text(f"{tar}#{key}"), "no picture in this sample")
    found = members[picture]
    name = _text(f"{tar}#{picture}")
    if found is None:
        return Unreadable(name, f"over the limit of {settings().max_image_bytes} bytes (BABELCLIP_MAX_IMAGE_BYTES)")
    return _picture(name, found, metadata)


def _json_object(content: bytes) -> dict[str, Any]:
    """The JSON object in a member, or nothing: a picture counts whatever stands beside it."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def as_json(metadata: dict[str, Any]) -> str | None:
    """Metadata in its stored form: bytes are left out, and what else JSON cannot hold is told as text.

    :param metadata: values by name
    :return: a JSON object, or None where there is nothing
    """
    kept = {key: value for key, value in metadata.items() if value is not None and not isinstance(value, bytes)}
    return json.dumps(kept, ensure_ascii=False, default=str) if kept else None

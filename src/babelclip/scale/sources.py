"""Image sources of a bulk run: photos in folders, Parquet with bytes or URLs, webdataset tar files."""

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
from babelclip.scale.fetching import FileReader
from babelclip.scale.locations import Location, local_photos, open_location
from babelclip.settings import settings

SourceKind = Literal["photos", "parquet", "webdataset"]
KINDS: tuple[SourceKind, ...] = ("photos", "parquet", "webdataset")
SUFFIXES: dict[SourceKind, frozenset[str]] = {
    "photos": PHOTO_SUFFIXES,
    "parquet": frozenset((".parquet",)),
    "webdataset": frozenset((".tar",)),
}
IMAGE_COLUMNS = ("image", "bytes", "jpg", "url", "image_url", "uri", "path")
"""Columns of pictures in a Parquet file; without ``--column`` the first of these that exists is read."""
READERS = 16
READ_AHEAD = 32
"""Files that are read ahead of the model: sources can be slow."""
PARQUET_ROWS = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: name, bytes and sha256 of its file, modification time, metadata of the file and of the source."""

    path: str
    content: bytes
    hash: bytes
    mtime_ns: int | None
    facts: Metadata
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row without a readable picture, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A folder, Parquet table or tar of pictures. ``column`` is that of the pictures in a Parquet file, or None."""

    name: str
    kind: SourceKind
    column: str | None = None


def find_kind(name: str) -> SourceKind:
    """Find the kind of a source.

    :param name: path or URL of a file or folder
    :return: the kind of its files
    :raises InputError: if there are no files of any kind, or of several
    """
    location = open_location(name)
    if not location.exists(location.path):
        raise InputError(f"{name}: no such file or folder")
    if location.is_file():
        kinds = [kind for kind in KINDS if Path(location.path).suffix.lower() in SUFFIXES[kind]]
        if not kinds:
            raise InputError(f"{name} is no photo, .parquet or .tar file; give one of these, or a folder of them")
        return kinds[0]
    counts = {kind: len(location.files(SUFFIXES[kind])) for kind in KINDS}
    kinds = [kind for kind in KINDS if counts[kind]]
    if not kinds:
        raise InputError(f"{name} holds no photos, .parquet or .tar files; give a folder that does")
    if len(kinds) > 1:
        listed = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
        raise InputError(f"{name} holds files of several kinds ({listed}); choose one with --kind")
    return kinds[0]


def find_files(source: ImageSource) -> list[str]:
    """List the files of a source.

    :param source: the source
    :return: paths in its file system, in order
    :raises InputError: if there are no files
    """
    location = open_location(source.name)
    if location.is_file():
        return [location.path]
    if source.kind == "photos" and not location.prefix:
        files = local_photos(Path(location.path))
    else:
        files = location.files(SUFFIXES[source.kind])
    if not files:
        raise InputError(f"{source.name} holds no files of the kind {source.kind}; choose another with --kind")
    return [file.path for file in files]


def plan_shards(files: Sequence[str], known: Sequence[Sequence[str]], *, shard_size: int) -> list[list[str]]:
    """Assign files to shards: planned shards stay, new files form further shards.

    :param files: all files, in order
    :param known: the shards of an earlier plan
    :param shard_size: maximum number of files of a new shard
    :return: the shards
    """
    planned = {file for shard in known for file in shard}
    new = [file for file in files if file not in planned]
    shards = [list(shard) for shard in known]
    return shards + [new[start : start + shard_size] for start in range(0, len(new), shard_size)]


def pictures(source: ImageSource, files: Sequence[str]) -> Iterator[Picture | Unreadable]:
    """Read the pictures of a shard in order, with a bounded number of them read ahead.

    :param source: the source
    :param files: files of the shard
    :yield: pictures, and rows without one
    :raises OSError: if a tar or Parquet file cannot be opened; a damaged one is an Unreadable
    """
    location = open_location(source.name)
    if source.kind == "photos":
        for _, picture in ordered_map(lambda path: _photo(location, path), files, workers=READERS, ahead=READ_AHEAD):
            yield picture
        return
    for file in files:
        yield from _tar(location, file) if source.kind == "webdataset" else _parquet(location, file, source.column)


def _picture(path: str, content: bytes, metadata: dict[str, Any] | None = None, mtime_ns: int | None = None) -> Picture:
    """Make a picture from the bytes of its file."""
    return Picture(path, content, hashlib.sha256(content).digest(), mtime_ns, _facts(content), metadata or {})


def _facts(content: bytes) -> Metadata:
    """What a picture says of itself; one that cannot be opened says nothing, and encoding it will say why."""
    register_formats()
    with suppress(*METADATA_ERRORS), Image.open(io.BytesIO(content)) as image:
        return read_metadata(image)
    return Metadata()


def _photo(location: Location, path: str) -> Picture | Unreadable:
    """Read one file as a picture."""
    name, limit = location.name(path), settings().max_image_bytes
    try:
        info = location.filesystem.get_file_info(path)
        if (info.size or 0) > limit:
            return Unreadable(name, f"{info.size} bytes, over the limit of {limit} (BABELCLIP_MAX_IMAGE_BYTES)")
        with location.filesystem.open_input_stream(path) as stream:
            return _picture(name, stream.read(), mtime_ns=info.mtime_ns)
    except FileNotFoundError:
        return Unreadable(name, "no such file")
    except OSError as error:
        return Unreadable(name, str(error))


def _text(name: str) -> str:
    """Escape a name to valid UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _parquet(location: Location, file: str, column: str | None) -> Iterator[Picture | Unreadable]:
    """Read the rows of a Parquet file; the other columns are metadata."""
    name = location.name(file)
    try:
        with location.filesystem.open_input_file(file) as stream, FileReader() as reader:
            table = pq.ParquetFile(stream)
            chosen = _image_column(name, table.schema_arrow.names, column)
            rows = (
                (f"{name}#{number}", row)
                for number, row in enumerate(
                    row for batch in table.iter_batches(batch_size=PARQUET_ROWS) for row in batch.to_pylist()
                )
            )
            for _, picture in ordered_map(
                lambda row: _parquet_row(reader, chosen, *row), rows, workers=READERS, ahead=READ_AHEAD
            ):
                yield picture
    except pa.ArrowInvalid as error:
        yield Unreadable(name, f"the Parquet file is damaged: {error}")


def _image_column(name: str, columns: Sequence[str], wanted: str | None) -> str:
    """Choose the column of the pictures."""
    candidates = IMAGE_COLUMNS if wanted is None else (wanted,)
    matches = [candidate for candidate in candidates if candidate in columns]
    if not matches:
        raise InputError(
            f"{name} has none of the columns {', '.join(candidates)} but {', '.join(columns)}; name one with --column"
        )
    return matches[0]


def _parquet_row(reader: FileReader, column: str, name: str, row: dict[str, Any]) -> Picture | Unreadable:
    """Read the picture of a row: bytes, a URL or path, or the {bytes, path} that the datasets library writes."""
    value = row.pop(column)
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return _picture(name, value, row)
    if not isinstance(value, str) or not value:
        return Unreadable(name, f"column {column} holds neither bytes nor a URL")
    try:
        return _picture(value, reader.read(value), {**row, "row": name})
    except ImageError as error:
        return Unreadable(_text(value), str(error))


def _tar(location: Location, file: str) -> Iterator[Picture | Unreadable]:
    """Read the samples of a webdataset tar: consecutive members of the same key."""
    name = location.name(file)
    with location.filesystem.open_input_stream(file) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|*") as tar:
                members = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
                for key, sample in groupby(members, key=lambda member: _key(member[0])):
                    yield _sample(name, key, {path: _member(path, opened) for path, opened in sample})
        except (tarfile.TarError, EOFError) as error:
            yield Unreadable(name, f"the tar is damaged, the members behind the damage are lost: {error}")


def _key(member: str) -> str:
    """Return the key of a sample: the path of a member up to the first dot of the file name."""
    folder, slash, name = member.rpartition("/")
    return folder + slash + name.split(".", 1)[0]


def _member(path: str, opened: Any) -> bytes | None:
    """Read a member; None if it is too large."""
    limit = settings().max_image_bytes
    content: bytes = opened.read(limit + 1)
    return content if len(content) <= limit else None


def _sample(tar: str, key: str, members: dict[str, bytes | None]) -> Picture | Unreadable:
    """Make a picture from a sample, with metadata from its members .json, .txt and .cls."""
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
    picture_bytes = members[picture]
    name = _text(f"{tar}#{picture}")
    if picture_bytes is None:
        return Unreadable(name, f"over the limit of {settings().max_image_bytes} bytes (BABELCLIP_MAX_IMAGE_BYTES)")
    return _picture(name, picture_bytes, metadata)


def _json_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object; anything else is ignored, because the picture is valid without it."""
    try:
        parsed = json.loads(content)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def as_json(metadata: dict[str, Any]) -> str | None:
    """Convert metadata to JSON: bytes are left out, other values that JSON cannot represent become text.

    :param metadata: values by name
    :return: a JSON object, or None without values
    """
    kept = {key: value for key, value in metadata.items() if value is not None and not isinstance(value, bytes)}
    return json.dumps(kept, ensure_ascii=False, default=str) if kept else None

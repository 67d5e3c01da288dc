"""Duplicates: files with the same content, the same picture saved anew or resized, and pictures that look alike.

Copies have the same sha256. For the rest, vectors say which pictures to compare; a 16 x 16 RGB print of each passes
over most pairs that differ; and what is left is compared pixel by pixel (pixel_comparison), each file with the one that
would be kept, since a print cannot tell one page of text from another. Nothing is ever deleted here.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from babelclip.catalog.records import Photo
from babelclip.errors import InputError
from babelclip.explore.pixel_comparison import may_be_resized, same_picture
from babelclip.media.archives import file_of, source_of
from babelclip.media.images import Pixels, read_image
from babelclip.media.raw import is_raw
from babelclip.media.system_folders import in_system_folder
from babelclip.pipeline import ordered_map
from babelclip.vectors import FloatArray, unit_rows

NEAR = 0.8
"""Cosine from which two pictures are compared by their pixels: a small one resized to a half may be no nearer."""
ALIKE = 0.95
"""Cosine from which different pictures look alike."""
PRINT_SIDE = 16
SAME_LEVELS = 18.0
"""The most that two prints of the same picture differ in any cell, in levels of 0..255."""
READ_AGAIN = 4
"""Pictures in memory while pairs are compared."""
NEIGHBOURS = 32
"""Looked at for every picture; a longer row of duplicates still meets, through each other's neighbours."""
EXACT_UP_TO = 20_000
"""Vectors up to which every pair is compared; beyond, those in the cells nearest by (an inverted file)."""
CELLS_A_ROOT = 4
"""Cells for the square root of the number of vectors."""
CELLS_PROBED = 8
TRAINING_ROUNDS = 4
TRAINING_POINTS = 64
"""Vectors a cell that the cells are made from; rough ones do, for what is near is in the same cell all the same."""
READ_AHEAD = 16


@dataclass(frozen=True, slots=True)
class Capture:
    """When (ISO 8601, the camera's clock) and with what camera a photo was taken; None where its file does not say."""

    taken_at: str | None
    camera: str | None


NO_CAPTURE = Capture(None, None)
SECONDS = len("2024-07-31T18:05:09")
"""Of a time, without what follows: only some programs keep parts of a second."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a group. ``width`` and ``height`` are None where the picture cannot be read any more.

    ``why`` is ``best`` for the first of a group of the same picture, else what it is to that: ``copy`` (of all bytes),
    ``re-saved`` (the same number of pixels) or ``resized``; and ``look-alike`` for all that are no more than that.
    ``cosine`` is that with the first.
    """

    path: str
    why: str
    bytes: int
    width: int | None
    height: int | None
    cosine: float


@dataclass(frozen=True, slots=True)
class Group:
    """Files that show the same, the one to keep first; or look-alikes."""

    members: tuple[Member, ...]

    @property
    def same(self) -> bool:
        """Whether all show the same picture, so that the first is enough."""
        return all(member.why != "look-alike" for member in self.members)

    @property
    def spare_bytes(self) -> int:
        """What the others take up; 0 for look-alikes, which are different pictures."""
        return sum(member.bytes for member in self.members[1:]) if self.same else 0


@dataclass(frozen=True, slots=True)
class _Print:
    """A picture's size in pixels, and its uint8 (16, 16, 3) print."""

    width: int
    height: int
    cells: Pixels


class _Sets:
    """Numbers joined to sets (union by path halving; Tarjan 1975)."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def root(self, item: int) -> int:
        while self._above[item] != item:
            self._above[item] = item = self._above[self._above[item]]
        return item

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low


def on_disk(photos: Sequence[Photo]) -> list[int]:
    """The photos that are as the index knows them, each file once: by a link one would be its own duplicate.

    :param photos: files
    :return: their places in the list; of several paths of a file the one that is no link, else the first
    """
    found: dict[tuple[object, ...], int] = {}
    for place, photo in enumerate(photos):
        file = file_of(photo.path)
        inside = str(file) != photo.path
        try:
            state = file.stat()
        except OSError:
            continue
        if state.st_mtime_ns != photo.mtime_ns or (not inside and state.st_size != photo.size):
            continue
        one = (state.st_dev, state.st_ino, photo.path.removeprefix(str(file)))
        if one not in found or os.path.realpath(file) == str(file):
            found[one] = place
    return sorted(found.values())


def find_duplicates(
    photos: Sequence[Photo],
    vectors: FloatArray,
    *,
    near: float = NEAR,
    alike: float = ALIKE,
    captures: Mapping[bytes, Capture] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Group]:
    """Find files that show the same picture, and pictures that look alike.

    :param photos: files with their hashes
    :param vectors: float32 (n, d), unit rows, one for each file
    :param near: cosine from which two pictures are compared by their pixels; 1 looks for copies alone
    :param alike: cosine from which different pictures count as look-alikes; 1 lists none
    :param captures: by hash, when and with what photos were taken, as far as their files say so
    :param progress: is told how many of how many pictures are read
    :return: first groups of the same picture, most bytes to spare first; then look-alikes, nearest first
    :raises InputError: if a cosine is not in 0..1
    """
    for name, limit in (("near", near), ("alike", alike)):
        if not 0 <= limit <= 1:
            raise InputError(f"{name} is a cosine in 0..1, not {limit}")
    contents: dict[bytes, list[int]] = defaultdict(list)
    for place, photo in enumerate(photos):
        if photo.hash is not None:
            contents[photo.hash].append(place)
    files = list(contents.values())
    firsts = vectors if len(files) == len(photos) else vectors[[own[0] for own in files]]
    # From a cosine of 1 on, rounding would decide.
    limit = min(bound for bound in (near, alike, 2.0) if bound < 1 or bound == 2.0)
    pairs, cosines = near_pairs(firsts, limit) if limit < 1 else (np.empty((0, 2), np.int64), np.empty(0, np.float32))
    wanted = sorted({*pairs.ravel().tolist(), *(item for item, own in enumerate(files) if len(own) > 1)})
    prints = _prints([photos[files[item][0]].path for item in wanted], wanted, progress)
    sets = _Sets(len(files))
    for (one, other), cosine in zip(pairs.tolist(), cosines.tolist(), strict=True):
        if cosine >= near and _may_be_same(prints[one], prints[other]):
            sets.join(one, other)
    build = _Builder(photos, files, firsts, prints, captures or {})
    parts = _verified(sets, len(files), build, _Pixels([photos[own[0]].path for own in files], prints))
    same = [build.same(part) for part in parts.values() if len(part) > 1 or len(files[part[0]]) > 1]
    chosen = alike < 1 and cosines >= alike
    root = {item: first for first, part in parts.items() for item in part}
    apart = _stars([(root[a], root[b]) for a, b in pairs[chosen].tolist()] if alike < 1 else [])
    looks = [build.alike(star) for star in apart]
    same.sort(key=lambda group: (-group.spare_bytes, group.members[0].path))
    looks.sort(key=lambda group: (-group.members[1].cosine, group.members[0].path))
    return same + looks


def near_pairs(vectors: FloatArray, limit: float) -> tuple[NDArray[np.int64], FloatArray]:
    """Pairs of vectors whose cosine is at least a limit, among the 32 nearest of each.

    :param vectors: float32 (n, d), unit rows
    :param limit: the least cosine
    :return: int64 (p, 2) pairs, the lower position first, and float32 (p,) cosines
    """
    count, dimension = vectors.shape
    rows = np.ascontiguousarray(vectors)
    index: Any = faiss.IndexFlatIP(dimension)
    if count > EXACT_UP_TO:
        # float16 as in the catalog, so that nothing is lost and half the memory is enough.
        cells = int(CELLS_A_ROOT * count**0.5)
        form = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexIVFScalarQuantizer(index, dimension, cells, form, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.max_points_per_centroid = TRAINING_ROUNDS, TRAINING_POINTS
        index.cp.min_points_per_centroid = 1
        index.nprobe = CELLS_PROBED
        index.train(rows)
    index.add(rows)
    cosines, found = index.search(rows, min(NEIGHBOURS + 1, count)) if count else (np.empty((0, 0)),) * 2
    one = np.broadcast_to(np.arange(count)[:, None], found.shape)
    kept = (cosines >= limit) & (found >= 0) & (found != one)
    pairs = np.sort(np.stack([one[kept], found[kept]], axis=1), axis=1).astype(np.int64)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    return pairs, cosines[kept][first].astype(np.float32)


def _prints(
    paths: Sequence[str], items: Sequence[int], progress: Callable[[int, int], None] | None
) -> defaultdict[int, _Print | None]:
    """The prints of pictures; None for those that cannot be read any more."""
    found: defaultdict[int, _Print | None] = defaultdict(lambda: None)
    named = zip(items, paths, strict=True)
    read = ordered_map(lambda named: _print(named[1]), named, workers=2, ahead=READ_AHEAD)
    for done, ((item, _), seen) in enumerate(read, 1):
        found[item] = seen
        if progress is not None:
            progress(done, len(items))
    return found


def _print(path: str) -> _Print | None:
    try:
        image = read_image(source_of(path))
    except InputError:
        return None
    cells = image.resize((PRINT_SIDE, PRINT_SIDE), Image.Resampling.BILINEAR)
    return _Print(image.width, image.height, np.asarray(cells))


def _may_be_same(one: _Print | None, other: _Print | None) -> bool:
    """Whether two prints may be of the same picture."""
    if one is None or other is None:
        return False
    small, large = sorted(((seen.width, seen.height) for seen in (one, other)), key=lambda size: size[0] * size[1])
    if not may_be_resized(large, small):
        return False
    apart = np.abs(one.cells.astype(np.int16) - other.cells).mean(axis=2)
    return bool(apart.max() <= SAME_LEVELS)


class _Pixels:
    """Compares contents pixel by pixel; the last few pictures stay in memory."""

    def __init__(self, paths: Sequence[str], prints: Mapping[int, _Print | None]) -> None:
        self._paths = paths
        self._prints = prints
        self._read = lru_cache(READ_AGAIN)(self._image)

    def same(self, one: int, other: int) -> bool:
        if not _may_be_same(self._prints[one], self._prints[other]):
            return False
        first, second = self._read(one), self._read(other)
        return first is not None and second is not None and same_picture(first, second)

    def _image(self, item: int) -> Image.Image | None:
        try:
            return read_image(source_of(self._paths[item]))
        except InputError:
            return None


def _verified(sets: _Sets, count: int, build: "_Builder", pixels: _Pixels) -> dict[int, list[int]]:
    """Cut sets so that every content is shown to be the picture that would be kept: by the kept one, which is first."""
    candidates: dict[int, list[int]] = defaultdict(list)
    for item in range(count):
        candidates[sets.root(item)].append(item)
    parts: dict[int, list[int]] = {}
    for part in candidates.values():
        left = part
        while left:
            best = build.best(left)
            same = [
                best,
                *(item for item in left if item != best and build.may_be_one(item, best) and pixels.same(item, best)),
            ]
            parts[best] = same
            left = sorted(set(left) - set(same))
    return parts


def _stars(edges: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """Cut a graph into stars: a centre and its neighbours, so that all of a group are near to one, without chains."""
    beside: dict[int, set[int]] = defaultdict(set)
    for one, other in edges:
        if one != other:
            beside[one].add(other)
            beside[other].add(one)
    taken: set[int] = set()
    for centre in sorted(beside, key=lambda item: (-len(beside[item]), item)):
        own = [] if centre in taken else sorted(beside[centre] - taken)
        if own:
            taken |= {centre, *own}
            yield [centre, *own]


class _Builder:
    """Makes groups of contents; ``files`` are the places of each content's files."""

    def __init__(
        self,
        photos: Sequence[Photo],
        files: Sequence[Sequence[int]],
        vectors: FloatArray,
        prints: defaultdict[int, _Print | None],
        captures: Mapping[bytes, Capture],
    ) -> None:
        self._photos = photos
        self._files = files
        self._vectors = vectors
        self._prints = prints
        self._captures = captures

    def best(self, part: Sequence[int]) -> int:
        """The content to keep: of those with a file outside of bins and thumbnails, the one of which most is known (a
        RAW file, the time, the camera, a sidecar), then most pixels, most bytes, and the one changed longest ago.
        """
        return min(part, key=self._rank)

    def _rank(self, item: int) -> tuple[bool, int, int, int, int, str]:
        seen, files = self._prints[item], [self._photos[i] for i in self._files[item]]
        capture = self._captures.get(files[0].hash or b"", NO_CAPTURE)
        known = (is_raw(files[0].path), capture.taken_at is not None, capture.camera is not None)
        sidecar = any(photo.sidecar_ns for photo in files)
        pixels = seen.width * seen.height if seen else 0
        oldest = min(photo.mtime_ns for photo in files)
        hidden = all(in_system_folder(photo.path) for photo in files)
        return hidden, -sum(known) - sidecar, -pixels, -files[0].size, oldest, files[0].path

    def may_be_one(self, item: int, other: int) -> bool:
        """Whether two contents may be one shot: not if both say when they were taken, and say it differently."""
        times = [
            self._captures.get(self._photos[self._files[i][0]].hash or b"", NO_CAPTURE).taken_at for i in (item, other)
        ]
        first, second = (time and time[:SECONDS] for time in times)
        return first is None or second is None or first == second

    def same(self, part: Sequence[int]) -> Group:
        """The group of contents that show the same picture, with all their copies."""
        best = self.best(part)
        members: list[Member] = []
        for item in sorted(part, key=lambda one: (one != best, one)):
            copies = sorted(self._files[item], key=self._copy_rank)
            members += [self._member(i, item, best, first=not members and i == copies[0], alike=False) for i in copies]
        return Group(tuple(members))

    def _copy_rank(self, place: int) -> tuple[bool, bool, int, str]:
        photo = self._photos[place]
        return in_system_folder(photo.path), not photo.sidecar_ns, photo.mtime_ns, photo.path

    def alike(self, centre_first: Sequence[int]) -> Group:
        """A group of look-alikes, the centre first, then the nearest."""
        centre, *others = centre_first
        nearest = sorted(others, key=lambda item: -self._cosine(item, centre))
        rows = [self._member(self._files[i][0], i, centre, first=i == centre, alike=True) for i in (centre, *nearest)]
        return Group(tuple(rows))

    def _cosine(self, item: int, other: int) -> float:
        return float(unit_rows(self._vectors[item][None])[0] @ unit_rows(self._vectors[other][None])[0])

    def _member(self, place: int, item: int, best: int, *, first: bool, alike: bool) -> Member:
        photo, seen, kept = self._photos[place], self._prints[item], self._prints[best]
        width, height = (seen.width, seen.height) if seen else (None, None)
        resaved = kept is not None and (width, height) == (kept.width, kept.height)
        why = "look-alike" if alike else "best" if first else "copy" if item == best else _CHANGES[resaved]
        return Member(photo.path, why, photo.size, width, height, round(self._cosine(item, best), 4))


_CHANGES = {True: "re-saved", False: "resized"}

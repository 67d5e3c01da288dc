from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from babelclip.catalog.records import Photo
from babelclip.errors import InputError
from babelclip.explore.duplicates import EXACT_UP_TO, Capture, Group, find_duplicates, near_pairs
from babelclip.vectors import FloatArray, unit_rows
from made_documents import chat, page


def picture(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size)


class Folder:
    """Files with made vectors."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos: list[Photo] = []
        self.rows: list[FloatArray] = []

    def add(self, name: str, image: Image.Image, vector: FloatArray, *, mtime: int = 0, **how: Any) -> str:
        path = self.root / name
        image.save(path, **how)
        content = path.read_bytes()
        digest = content[-32:].rjust(32, b"\0") if how else bytes([len(self.photos)]) * 32
        self.photos.append(Photo(str(path), len(content), mtime, digest))
        self.rows.append(vector)
        return str(path)

    def copy(self, name: str, of: int, *, mtime: int = 0) -> str:
        path = self.root / name
        path.write_bytes(Path(self.photos[of].path).read_bytes())
        self.photos.append(Photo(str(path), self.photos[of].size, mtime, self.photos[of].hash))
        self.rows.append(self.rows[of])
        return str(path)

    def find(
        self, near: float = 0.8, alike: float = 0.95, captures: Mapping[bytes, Capture] | None = None
    ) -> list[Group]:
        vectors = unit_rows(np.stack(self.rows))
        return find_duplicates(self.photos, vectors, near=near, alike=alike, captures=captures)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def direction(seed: int, beside: FloatArray | None = None, cosine: float = 0.0) -> FloatArray:
    """A unit vector, at a cosine with another."""
    free = np.random.default_rng(seed).normal(size=64).astype(np.float32)
    if beside is None:
        first: FloatArray = unit_rows(free[None])[0]
        return first
    free -= beside * (free @ beside)
    mixed: FloatArray = (cosine * beside + np.sqrt(1 - cosine**2) * unit_rows(free[None])[0]).astype(np.float32)
    return mixed


def test_copies_saved_anew_and_resized_are_one_group_with_the_most_pixels_first(folder: Folder) -> None:
    at = direction(0)
    half = folder.add("half.png", picture(1).resize((60, 45)), direction(1, at, 0.9))
    best = folder.add("best.png", picture(1), at, mtime=5)
    copied = folder.copy("copy.png", 1, mtime=9)
    saved = folder.add("saved.webp", picture(1), direction(2, at, 0.97), quality=70)
    folder.add("other.png", picture(2), direction(3))
    (group,) = folder.find()
    assert [(m.path, m.why) for m in group.members] == [
        (best, "best"),
        (copied, "copy"),
        (half, "resized"),
        (saved, "re-saved"),
    ]
    assert group.same
    assert group.spare_bytes == sum(Path(path).stat().st_size for path in (copied, half, saved))
    assert [(m.width, m.height) for m in group.members] == [(120, 90), (120, 90), (60, 45), (120, 90)]


def test_the_oldest_of_equal_copies_is_kept(folder: Folder) -> None:
    folder.add("a.png", picture(1), direction(0), mtime=7)
    old = folder.copy("b.png", 0, mtime=3)
    assert folder.find()[0].members[0].path == old


def test_different_pictures_with_near_vectors_are_look_alikes_with_nothing_to_spare(folder: Folder) -> None:
    at = direction(0)
    folder.add("a.png", picture(1), at)
    folder.add("b.png", picture(2), direction(1, at, 0.97))
    folder.add("c.png", picture(3), direction(2, at, 0.9))
    (group,) = folder.find()
    assert [m.why for m in group.members] == ["look-alike", "look-alike"]
    assert not group.same
    assert group.spare_bytes == 0
    assert folder.find(alike=1) == []


def test_a_small_change_in_one_place_makes_a_different_picture(folder: Folder) -> None:
    at = direction(0)
    changed = picture(1)
    changed.paste((255, 0, 255), (50, 40, 62, 52))
    folder.add("a.png", picture(1), at)
    folder.add("b.png", changed, direction(1, at, 0.99))
    (group,) = folder.find()
    assert not group.same


def test_another_shape_or_brightness_makes_a_different_picture(folder: Folder) -> None:
    at = direction(0)
    folder.add("a.png", picture(1), at)
    folder.add("wide.png", picture(1, (200, 90)), direction(1, at, 0.99))
    folder.add("bright.png", picture(1).point(lambda level: min(255, level + 40)), direction(2, at, 0.99))
    assert not any(group.same for group in folder.find())


def test_look_alikes_do_not_chain(folder: Folder) -> None:
    first = direction(0)
    for i in range(6):
        folder.add(f"{i}.png", picture(i), first)
        first = direction(100 + i, first, 0.96)
    groups = folder.find()
    for group in groups:
        assert len(group.members) <= 3
        assert all(member.cosine >= 0.95 for member in group.members)


def test_a_file_that_is_gone_is_no_duplicate_by_looks_but_still_a_copy(folder: Folder) -> None:
    at = direction(0)
    gone = folder.add("gone.png", picture(1), at)
    folder.add("saved.png", picture(1).resize((60, 45)), direction(1, at, 0.9))
    folder.copy("copy.png", 0)
    Path(gone).unlink()
    (group,) = folder.find()
    assert {member.why for member in group.members} == {"best", "copy"}
    assert group.members[0].width is None


def test_a_cosine_of_one_looks_for_copies_alone(folder: Folder) -> None:
    folder.add("a.png", picture(1), direction(0))
    folder.add("b.png", picture(1).resize((60, 45)), direction(0))
    folder.copy("c.png", 0)
    (group,) = folder.find(near=1, alike=1)
    assert [Path(member.path).name for member in group.members] == ["a.png", "c.png"]


def test_limits_that_are_no_cosines_are_errors_and_nothing_gives_nothing(folder: Folder) -> None:
    folder.add("a.png", picture(1), direction(0))
    with pytest.raises(InputError, match=r"near is a cosine in 0\.\.1, not 7"):
        folder.find(near=7)
    assert find_duplicates([], np.empty((0, 64), np.float32)) == []


def test_the_inverted_file_finds_the_pairs_that_comparing_all_finds() -> None:
    rng = np.random.default_rng(0)
    base = unit_rows(rng.normal(size=(EXACT_UP_TO // 2 + 300, 16)).astype(np.float32))
    near = unit_rows(base + rng.normal(scale=0.03, size=base.shape).astype(np.float32))
    everything = np.concatenate([base, near])
    pairs, cosines = near_pairs(everything, 0.95)
    partner = {tuple(pair) for pair in pairs.tolist()}
    wanted = np.flatnonzero((base * near).sum(axis=1) >= 0.95)
    found = sum((int(i), int(i) + len(base)) in partner for i in wanted)
    assert found >= 0.99 * len(wanted) > 9000
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert cosines.min() >= 0.95


@pytest.mark.parametrize("kind", [page, chat])
def test_documents_with_different_text_are_never_the_same_picture(folder: Folder, kind: Any) -> None:
    at = direction(0)
    for seed in range(6):
        folder.add(f"{seed}.png", kind(seed), direction(seed + 1, at, 0.995))
    saved = folder.add("saved.jpg", kind(0), direction(9, at, 0.995), quality=75)
    same, *alike = folder.find()
    assert {member.path for member in same.members} == {str(folder.root / "0.png"), saved}
    assert not any(group.same for group in alike)


def test_every_member_is_compared_with_the_one_that_is_kept(folder: Folder) -> None:
    at = direction(0)
    folder.add("a.png", page(2), at)
    folder.add("b.png", page(2, changed=True), direction(1, at, 0.999))
    # So small that both pages look like it.
    folder.add("small.png", page(2).resize((90, 127)), direction(2, at, 0.99))
    assert not any(group.same for group in folder.find())


def shots(folder: Folder) -> tuple[str, str]:
    at = direction(0)
    large = folder.add("large.png", picture(1), at)
    small = folder.add("small.png", picture(1).resize((60, 45)), direction(1, at, 0.95))
    return large, small


def test_the_one_that_says_when_it_was_taken_is_kept_before_the_one_with_more_pixels(folder: Folder) -> None:
    large, small = shots(folder)
    assert [m.path for m in folder.find()[0].members] == [large, small]
    dated = {folder.photos[1].hash or b"": Capture("2024-07-31T18:05:09", None)}
    assert [m.path for m in folder.find(captures=dated)[0].members] == [small, large]


def test_the_one_with_a_sidecar_is_kept_before_the_one_with_more_pixels(folder: Folder) -> None:
    large, small = shots(folder)
    folder.photos[1] = replace(folder.photos[1], sidecar_ns=1)
    assert [m.path for m in folder.find()[0].members] == [small, large]


def test_shots_taken_at_different_times_are_not_the_same_picture(folder: Folder) -> None:
    shots(folder)
    one, other = (photo.hash or b"" for photo in folder.photos)
    times = {one: Capture("2024-07-31T18:05:09", None), other: Capture("2024-07-31T18:05:10", None)}
    assert not any(group.same for group in folder.find(captures=times))
    times[other] = Capture("2024-07-31T18:05:09.25", None)
    assert folder.find(captures=times)[0].same


@pytest.mark.parametrize("name", ["$RECYCLE.BIN", "#recycle", ".Trash-1000", "@eaDir", "thumbnails"])
def test_the_kept_one_is_never_in_a_bin_or_a_folder_of_thumbnails(folder: Folder, name: str) -> None:
    (folder.root / name).mkdir()
    at = direction(0)
    folder.add(f"{name}/large.png", picture(1), at)
    live = folder.add("small.png", picture(1).resize((60, 45)), direction(1, at, 0.95))
    assert folder.find()[0].members[0].path == live
    copied = folder.copy("copy.png", 0, mtime=9)
    assert folder.find()[0].members[0].path == copied

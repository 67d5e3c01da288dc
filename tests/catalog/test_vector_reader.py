from pathlib import Path

import numpy as np
import pytest

from babelclip.catalog.records import ContentRecord, Photo
from babelclip.catalog.vector_reader import Cursor, VectorLocation
from babelclip.errors import CatalogError
from babelclip.media.metadata import Metadata
from tests.helpers.small_catalog import VECTOR, digest, open_catalog


def test_a_damaged_vector_is_an_error_and_not_a_wrong_answer(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
    catalog.save([Photo("/1", 1, 1, digest(1))], [ContentRecord(digest(1), np.ones(3, np.float32))])
    with pytest.raises(CatalogError, match="damaged"):
        catalog.vectors.all()
    catalog.close()


def test_a_reader_learns_what_is_new_and_what_is_gone(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
    photos = [Photo(f"/{i}.jpg", 1, 1, digest(i)) for i in range(5)]
    catalog.save(photos, [ContentRecord(digest(i), VECTOR) for i in range(5)])
    blocks = list(catalog.vectors.vectors_since(0, block=2))
    assert [len(ids) for ids, _ in blocks] == [2, 2, 1]
    have = {int(i) for ids, _ in blocks for i in ids}
    mark = catalog.vectors.cursor()
    catalog.forget(["/1.jpg", "/2.jpg"])
    catalog.save(
        [Photo("/moved.jpg", 1, 1, digest(2)), Photo("/3.jpg", 2, 2, digest(9))], [ContentRecord(digest(9), VECTOR)]
    )
    for ids, _ in catalog.vectors.vectors_since(mark.vector):
        have |= set(ids.tolist())
    gone, removal = catalog.vectors.removed_since(mark.removal)
    have -= set(gone.tolist())
    assert have == {row[0] for row in catalog.connection.rows("SELECT id FROM vectors")}
    assert len(have) == 4
    places = catalog.vectors.locations(sorted(have))
    assert {place.path for found in places.values() for place in found} == {"/0.jpg", "/3.jpg", "/4.jpg", "/moved.jpg"}
    assert catalog.vectors.cursor() == Cursor(max(have), removal)
    assert catalog.vectors.removed_since(removal)[0].tolist() == []
    catalog.close()


def test_a_video_has_a_vector_for_each_frame(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path / "p.bc")
    frames = np.stack([VECTOR, -VECTOR])
    facts = Metadata(kind="video", duration_ms=9000)
    catalog.save([Photo("/v.mp4", 1, 1, digest(1))], [ContentRecord(digest(1), frames, None, facts, (0, 4000))])
    assert catalog.vectors.count() == 1
    places = catalog.vectors.locations([1, 2])
    assert places == {1: [VectorLocation(1, "/v.mp4", 0)], 2: [VectorLocation(2, "/v.mp4", 4000)]}
    catalog.close()

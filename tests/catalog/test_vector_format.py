import numpy as np

from babelclip.catalog.vector_format import from_bytes, to_bytes
from babelclip.vectors import cosine, unit_rows


def test_stored_vectors_are_little_endian_float16_and_keep_the_cosine() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(50, 512)).astype(np.float32))
    stored = b"".join(to_bytes(row) for row in rows)
    assert stored[:2] == np.float16(rows[0, 0]).astype("<f2").tobytes()
    back = from_bytes(stored, 512)
    assert np.diag(cosine(rows, back)).min() > 0.99999

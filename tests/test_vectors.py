import numpy as np
import pytest

from babelclip.errors import InputError
from babelclip.vectors import cosine, cosines_of, unit_rows


def test_rows_become_unit_length_and_zero_rows_stay_zero() -> None:
    rows = np.array([[3, 4], [0, 0]], dtype=np.float32)
    assert unit_rows(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    assert unit_rows(rows).dtype == np.float32


def test_cosine_does_not_depend_on_length() -> None:
    a = np.array([[1, 0], [1, 1]], dtype=np.float32)
    assert cosine(a * 7, a[0] * 3).ravel().tolist() == pytest.approx([1, 2**-0.5])


def test_cosine_of_different_dimensions_is_an_error() -> None:
    with pytest.raises(InputError, match="2 and 3 dimensions"):
        cosine(np.ones((1, 2), np.float32), np.ones((1, 3), np.float32))


@pytest.mark.parametrize(("few", "many"), [(1, 1), (10, 200), (700, 3), (3000, 300), (0, 200), (10, 0)])
def test_products_in_pieces_are_those_in_one(few: int, many: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, 512)).astype(np.float32) for n in (few, many))
    np.testing.assert_allclose(cosines_of(a, b), a @ b.T, rtol=1e-4, atol=1e-4)

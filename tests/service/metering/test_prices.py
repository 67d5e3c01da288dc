import pytest

from babelclip.errors import InputError
from babelclip.service.metering.prices import dollars, microdollars, picodollars, price_of, read_prices


def test_ten_tokens_at_the_default_price_cost_exactly_fifty_nanodollars() -> None:
    price = price_of(read_prices(""), "mini")
    assert price.of(tokens=10, images=0) == 50_000
    assert dollars(50_000) == "0.00000005"


def test_sums_of_tiny_amounts_lose_nothing() -> None:
    price = price_of(read_prices("*=0.000001"), "mini")
    assert microdollars(sum(price.of(tokens=1, images=0) for _ in range(2_500_000))) == 3
    assert microdollars(2_499_999) == 2


def test_a_model_has_its_own_price_and_the_others_theirs() -> None:
    prices = read_prices("a=1/2, *=3")
    assert (price_of(prices, "a").token, price_of(prices, "a").image) == (10**6, 2 * 10**6)
    assert price_of(prices, "b").token == 3 * 10**6
    assert price_of(prices, "b").image == price_of(read_prices(""), "b").image


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=x", "a=-1", "a=nan", "a=inf", "a=0.0000001", "a=1e9", "a=1/x"])
def test_what_is_no_price_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError):
        read_prices(text)


@pytest.mark.parametrize("text", ["x", "-1", "NaN", "1e-13", "1e30"])
def test_what_is_no_amount_of_dollars_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="dollars"):
        picodollars(text)


def test_dollars_are_written_without_an_exponent() -> None:
    assert [dollars(p) for p in (0, 1, 10**12, 25 * 10**10)] == ["0", "0.000000000001", "1", "0.25"]

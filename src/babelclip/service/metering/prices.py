"""Prices and amounts of money, in whole picodollars (1e-12 $), so that sums of tiny amounts lose nothing.

A price in dollars a million with up to six places is a whole number of picodollars each: $0.005 a million tokens is
5000 picodollars a token. Micro-dollars, which reports show, are rounded once, after summing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from babelclip.errors import InputError

PICO_A_DOLLAR = 10**12
PICO_A_MICRO = 10**6
MAX_DOLLARS_A_MILLION = Decimal(1_000_000)
DEFAULT_TEXT = "0.005"
"""Dollars a million tokens: what the model is listed at elsewhere."""
DEFAULT_IMAGE = "0.25"
"""Dollars a million images: an image as the 50 tokens that a ViT-B/32 makes of it, at the price of text."""
ANY = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs: picodollars a token and picodollars an image."""

    token: int
    image: int

    def of(self, tokens: int, images: int) -> int:
        """What a request costs.

        :param tokens: that the model read
        :param images: that the model saw
        :return: picodollars
        """
        return tokens * self.token + images * self.image


def read_prices(text: str) -> Mapping[str, Price]:
    """The prices of a setting.

    :param text: ``MODEL=TEXT[/IMAGE]`` parted by commas, in dollars a million; the model ``*`` is every other
    :return: model -> price, with one for ``*``
    :raises InputError: if it does not have that form
    """
    prices = {ANY: Price(_pico(DEFAULT_TEXT), _pico(DEFAULT_IMAGE))}
    for part in filter(None, (part.strip() for part in text.split(","))):
        model, equals, amounts = part.rpartition("=")
        if not equals or not model:
            raise InputError(f"the price {part!r} is not of the form MODEL=TEXT/IMAGE, in dollars a million")
        token, _, image = amounts.partition("/")
        prices[model.strip()] = Price(_pico(token), _pico(image or DEFAULT_IMAGE))
    return prices


def price_of(prices: Mapping[str, Price], model: str) -> Price:
    """The price of a model.

    :param prices: what read_prices gave
    :param model: its name
    :return: its own price, else that of every other
    """
    return prices.get(model, prices[ANY])


def picodollars(dollars: str) -> int:
    """An amount that was written in dollars.

    :param dollars: a decimal number, at least 0
    :return: picodollars, whole
    :raises InputError: if it is not such a number, or has parts of a picodollar
    """
    pico = _decimal(dollars) * PICO_A_DOLLAR
    if pico != pico.to_integral_value() or pico >= 2**63:
        raise InputError(f"{dollars!r} dollars is over 9,000,000 or has more than twelve places")
    return int(pico)


def dollars(pico: int) -> str:
    """An exact amount in dollars, for headers and exports.

    :param pico: picodollars
    :return: such as "0.00000005"
    """
    text = f"{Decimal(pico).scaleb(-12):.12f}"
    return text.rstrip("0").rstrip(".")


def microdollars(pico: int) -> int:
    """A sum in whole micro-dollars, rounded to the nearest.

    :param pico: picodollars
    :return: micro-dollars
    """
    return int((Decimal(pico) / PICO_A_MICRO).to_integral_value(ROUND_HALF_UP))


def _pico(dollars_a_million: str) -> int:
    """Picodollars each, of a price in dollars a million."""
    amount = _decimal(dollars_a_million)
    each = amount * (PICO_A_DOLLAR // 1_000_000)
    if amount > MAX_DOLLARS_A_MILLION or each != each.to_integral_value():
        raise InputError(f"the price {dollars_a_million!r} has more than six places or is over {MAX_DOLLARS_A_MILLION}")
    return int(each)


def _decimal(text: str) -> Decimal:
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise InputError(f"{text!r} is not an amount of dollars, such as 0.005")
    return amount

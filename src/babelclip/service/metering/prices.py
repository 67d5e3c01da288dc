"""Prices and amounts in whole picodollars (1e-12 $), so that sums of small amounts are exact.

A price in dollars per million with up to six decimals is a whole number of picodollars each: $0.005 per million tokens
is 5000 picodollars per token. Microdollars, which reports show, are rounded once, after summing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from babelclip.errors import InputError

PICO_A_DOLLAR = 10**12
PICO_A_MICRO = 10**6
MAX_DOLLARS_A_MILLION = Decimal(1_000_000)
DEFAULT_TEXT = "0.005"
"""Dollars per million tokens: the list price of the hosted model."""
DEFAULT_IMAGE = "0.25"
"""Dollars per million images: an image costs as much as the 50 tokens that a ViT-B/32 reads of it."""
ANY = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a model: picodollars per token and per image."""

    token: int
    image: int

    def of(self, tokens: int, images: int) -> int:
        """Compute the cost of a request.

        :param tokens: tokens that the model reads
        :param images: images that the model encodes
        :return: picodollars
        """
        return tokens * self.token + images * self.image


def read_prices(text: str) -> Mapping[str, Price]:
    """Parse the setting of prices.

    :param text: comma-separated ``MODEL=TEXT[/IMAGE]``, in dollars per million; the model ``*`` is every other model
    :return: model -> price, with a price for ``*``
    :raises InputError: if it is malformed
    """
    prices = {ANY: Price(_pico(DEFAULT_TEXT), _pico(DEFAULT_IMAGE))}
    for part in filter(None, (part.strip() for part in text.split(","))):
        model, equals, amounts = part.rpartition("=")
        if not equals or not model:
            raise InputError(f"the price {part!r} is not of the form MODEL=TEXT/IMAGE, in dollars per million")
        token, _, image = amounts.partition("/")
        prices[model.strip()] = Price(_pico(token), _pico(image or DEFAULT_IMAGE))
    return prices


def price_of(prices: Mapping[str, Price], model: str) -> Price:
    """Look up the price of a model.

    :param prices: prices from ``read_prices``
    :param model: name of the model
    :return: its price, or the price of ``*``
    """
    return prices.get(model, prices[ANY])


def picodollars(dollars: str) -> int:
    """Parse an amount in dollars.

    :param dollars: a decimal number, at least 0
    :return: whole picodollars
    :raises InputError: if it is not such a number, or has more than twelve decimals
    """
    pico = _decimal(dollars) * PICO_A_DOLLAR
    if pico != pico.to_integral_value() or pico >= 2**63:
        raise InputError(f"{dollars!r} dollars is over 9,000,000 or has more than twelve decimals")
    return int(pico)


def dollars(pico: int) -> str:
    """Format an amount in dollars exactly, for headers and exports.

    :param pico: picodollars
    :return: a decimal number such as "0.00000005"
    """
    text = f"{Decimal(pico).scaleb(-12):.12f}"
    return text.rstrip("0").rstrip(".")


def microdollars(pico: int) -> int:
    """Round a sum to whole microdollars.

    :param pico: picodollars
    :return: microdollars
    """
    return int((Decimal(pico) / PICO_A_MICRO).to_integral_value(ROUND_HALF_UP))


def _pico(dollars_a_million: str) -> int:
    """Picodollars each, from a price in dollars per million."""
    amount = _decimal(dollars_a_million)
    each = amount * (PICO_A_DOLLAR // 1_000_000)
    if amount > MAX_DOLLARS_A_MILLION or each != each.to_integral_value():
        raise InputError(
            f"the price {dollars_a_million!r} has more than six decimals or is over {MAX_DOLLARS_A_MILLION}"
        )
    return int(each)


def _decimal(text: str) -> Decimal:
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise InputError(f"{text!r} is not an amount of dollars, such as 0.005")
    return amount

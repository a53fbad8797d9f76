"""Payment cards: the prefix of an issuer, a length that it gives out, and Luhn's check digit."""

from __future__ import annotations

from aet.personal.checksums import luhn
from aet.personal.kind import LEFT, RIGHT, digits, kind

ISSUERS = (
    ("4", "4", (16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16)),  # Diners Club
    ("36", "36", (14, 16)),
    ("38", "39", (14, 16)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "659", (16, 19)),
    ("3528", "3589", (16, 19)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("508", "508", (16,)),  # RuPay
    ("5018", "5018", (13, 16, 19)),  # Maestro
    ("5020", "5020", (13, 16, 19)),
    ("5038", "5038", (13, 16, 19)),
    ("6304", "6304", (13, 16, 19)),
    ("6759", "6763", (13, 16, 19)),
)
"""First and last prefix, and the lengths. Visa's 13 digits are long gone, and barcodes look like them."""


@kind(
    "card",
    rf"{LEFT}[0-9]{{4}}(?: [0-9]{{4}}){{3}}(?: [0-9]{{3}})?{RIGHT}",
    rf"{LEFT}[0-9]{{4}}(?:-[0-9]{{4}}){{3}}(?:-[0-9]{{3}})?{RIGHT}",
    rf"{LEFT}[0-9]{{4}}[ -][0-9]{{6}}[ -][0-9]{{4,5}}{RIGHT}",
    rf"{LEFT}[0-9]{{13,19}}{RIGHT}",
    order=30,
)
def card(text: str) -> str:
    """The whole, or its first sixteen digits where three more stand behind (a card's code).

    >>> card("3782-822463-10005"), card("4111 1111 1111 1111 123"), card("1234 5678 9012 3452")
    ('3782-822463-10005', '4111 1111 1111 1111', '')
    """
    for part in (text, text[:19] if len(text) == 23 else ""):
        number = digits(part)
        for first, last, lengths in ISSUERS:
            if len(number) in lengths and first <= number[: len(first)] <= last and luhn(number):
                return part
    return ""

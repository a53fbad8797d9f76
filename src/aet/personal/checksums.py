"""Check digits: what most typing errors, and most numbers that are something else, do not pass."""

from __future__ import annotations

from datetime import date

D5 = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
"""Multiplication in the dihedral group of ten elements."""
TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
"""The permutation that is applied once more for each place."""


def luhn(number: str) -> bool:
    """Σ of the digits, every second one from the right doubled and its digits added, ≡ 0 (mod 10) (ISO/IEC 7812-1).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def mod97(text: str) -> bool:
    """The number, with letters as A = 10 ... Z = 35, ≡ 1 (mod 97) (ISO 7064).

    >>> mod97("WEST12345698765432GB82")
    True
    """
    return int("".join(str(int(c, 36)) for c in text)) % 97 == 1


def mod11_2(text: str) -> bool:
    """Σ a_i 2^i from the right ≡ 1 (mod 11), X as the last character is 10 (ISO 7064 MOD 11-2).

    >>> mod11_2("11010519491231002X")
    True
    """
    values = [10 if c in "Xx" else int(c) for c in text]
    return sum(value * pow(2, place, 11) for place, value in enumerate(reversed(values))) % 11 == 1


def mod11_10(number: str) -> bool:
    """The hybrid system of ISO 7064 MOD 11,10.

    >>> mod11_10("86095742719")
    True
    """
    product = 10
    for digit in number[:-1]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (product + int(number[-1])) % 10 == 1


def verhoeff(number: str) -> bool:
    """Products in the dihedral group D5 of digits permuted by their place (Verhoeff 1969).

    >>> verhoeff("2363"), verhoeff("2364")
    (True, False)
    """
    state = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place % 8):
            value = TURN[value]
        state = D5[state][value]
    return state == 0


def weighted(number: str, weights: range) -> int:
    """Σ of digits by their weights."""
    return sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))


def is_date(year: int, month: int, day: int) -> bool:
    """Whether there is such a day.

    >>> is_date(2023, 2, 29), is_date(2024, 2, 29)
    (False, True)
    """
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True

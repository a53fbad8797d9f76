"""Aadhaar numbers of India: twelve digits, not 0 or 1 first, and Verhoeff's check digit."""

from __future__ import annotations

from aet.personal.checksums import verhoeff
from aet.personal.kind import LEFT, RIGHT, after, digits, kind


@kind(
    "in_aadhaar",
    rf"{LEFT}(?<![0-9] )[2-9][0-9]{{3}}(?: [0-9]{{4}} |-[0-9]{{4}}-)[0-9]{{4}}{RIGHT}(?! [0-9]{{4}}(?![0-9]))",
    after(r"aadhaa?r(?: number| no)?|uidai|uid", "[2-9][0-9]{11}"),
    order=45,
)
def in_aadhaar(text: str) -> str:
    """Verhoeff over all twelve.

    >>> in_aadhaar("9999 4105 7058"), in_aadhaar("9999 4105 7059")
    ('9999 4105 7058', '')
    """
    return text if verhoeff(digits(text)) else ""

"""Tax codes of Italy (codice fiscale): letters of the name, date of birth, place, check letter."""

from __future__ import annotations

from aet.personal.kind import LEFT, RIGHT, kind

ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
"""Values of A ... Z, and of 0 ... 9 as A ... J, at odd places; at even ones they count as they are."""
DIGIT = "[0-9LMNPQRSTUV]"
"""A digit, or the letter that stands for one where two people would have the same code."""


@kind(
    "it_cf",
    rf"{LEFT}[A-Z]{{6}}{DIGIT}{{2}}[A-EHLMPRST]{DIGIT}{{2}}[A-Z]{DIGIT}{{3}}[A-Z]{RIGHT}",
    order=40,
)
def it_cf(text: str) -> str:
    """A day of 1 to 31, or 41 to 71 for women, and the check letter (decree of 23 December 1976).

    >>> it_cf("RSSMRA85T10A562S"), it_cf("RSSMRA85T10A562T")
    ('RSSMRA85T10A562S', '')
    """
    code = text.upper()
    values = [int(c) if c.isdigit() else ord(c) - ord("A") for c in code]
    total = sum(ODD[v] if place % 2 == 0 else v for place, v in enumerate(values[:15]))
    plain = code.translate(str.maketrans("LMNPQRSTUV", "0123456789"))
    day = int(plain[9:11]) % 40
    return text if 1 <= day <= 31 and total % 26 == values[15] else ""

"""Identity numbers of Spain: DNI, and NIE for foreigners; the letter is the rest by 23."""

from __future__ import annotations

from aet.personal.kind import LEFT, RIGHT, kind

LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


@kind(
    "es_dni",
    rf"{LEFT}(?:[0-9]{{8}}|[0-9]{{2}}\.[0-9]{{3}}\.[0-9]{{3}}|[XYZ][ -]?[0-9]{{7}})[ -]?[{LETTERS}]{RIGHT}",
    order=41,
)
def es_dni(text: str) -> str:
    """X, Y, Z count as 0, 1, 2.

    >>> es_dni("12345678Z"), es_dni("X-1234567-L"), es_dni("12345678A")
    ('12345678Z', 'X-1234567-L', '')
    """
    code = "".join(c for c in text.upper() if c.isalnum())
    number = int(code[:-1].translate(str.maketrans("XYZ", "012")))
    return text if LETTERS[number % 23] == code[-1] else ""

"""Social security numbers of France (NIR): sex, year, month, department, commune, order, key."""

from __future__ import annotations

from aet.personal.kind import LEFT, RIGHT, kind


@kind(
    "fr_nir",
    rf"{LEFT}[1-478] ?[0-9]{{2}} ?[0-9]{{2}} ?(?:[0-9]{{2}}|2[AB]) ?[0-9]{{3}} ?[0-9]{{3}} ?[0-9]{{2}}{RIGHT}",
    order=28,
)
def fr_nir(text: str) -> str:
    """Month 1 to 12, or a code for an unknown one; key = 97 - number mod 97, with 2A as 19 and 2B as 18.

    >>> fr_nir("2 55 08 14 168 025 38"), fr_nir("255081416802539")
    ('2 55 08 14 168 025 38', '')
    """
    code = text.replace(" ", "").upper()
    month = int(code[3:5])
    number = int(code[:13].replace("2A", "19").replace("2B", "18"))
    fine = 1 <= month <= 12 or 20 <= month <= 42 or 50 <= month <= 99
    return text if fine and 97 - number % 97 == int(code[13:]) else ""

"""NHS numbers of the United Kingdom: ten digits, the last from a sum by 11."""

from __future__ import annotations

from aet.personal.checksums import weighted
from aet.personal.kind import LEFT, RIGHT, after, digits, kind


@kind(
    "uk_nhs",
    rf"{LEFT}[0-9]{{3}} [0-9]{{3}} [0-9]{{4}}{RIGHT}",
    after(r"nhs(?: number| no)?|national health(?: service)?", "[0-9]{3}-?[0-9]{3}-?[0-9]{4}"),
    order=46,
)
def uk_nhs(text: str) -> str:
    """Weights 10 to 2; 11 - rest, where 11 counts as 0 and 10 is never given out.

    >>> uk_nhs("943 476 5919"), uk_nhs("943 476 5918")
    ('943 476 5919', '')
    """
    number = digits(text)
    check = (11 - weighted(number[:9], range(10, 1, -1)) % 11) % 11
    return text if check == int(number[9]) and len(set(number)) > 1 else ""

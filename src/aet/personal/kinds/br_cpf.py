"""Taxpayer numbers of Brazil (CPF): nine digits and two check digits."""

from __future__ import annotations

from aet.personal.checksums import weighted
from aet.personal.kind import LEFT, RIGHT, after, digits, kind


@kind("br_cpf", rf"{LEFT}[0-9]{{3}}\.[0-9]{{3}}\.[0-9]{{3}}-[0-9]{{2}}{RIGHT}", after("cpf", "[0-9]{11}"), order=43)
def br_cpf(text: str) -> str:
    """Each check digit is 10 Σ modulo 11 modulo 10, weights from 10 and from 11 down to 2; all digits alike are none.

    >>> br_cpf("529.982.247-25"), br_cpf("529.982.247-26")
    ('529.982.247-25', '')
    """
    number = digits(text)
    right = all(10 * weighted(number[:size], range(size + 1, 1, -1)) % 11 % 10 == int(number[size]) for size in (9, 10))
    return text if right and len(set(number)) > 1 else ""

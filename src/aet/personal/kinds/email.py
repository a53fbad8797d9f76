"""E-mail addresses: the dot-atom form of RFC 5322, at a domain with a top level of letters."""

from __future__ import annotations

from aet.personal.kind import kind

LETTERS = "A-Za-z0-9\u00c0-\u024f"


@kind(
    "email",
    rf"(?<![{LETTERS}_.%+-])[{LETTERS}_.%+-]{{1,64}}@"
    rf"(?:[{LETTERS}-]{{1,63}}\.){{1,8}}(?:[a-z]{{2,24}}|xn--[a-z0-9-]{{2,59}})(?![{LETTERS}])",
    order=10,
)
def email(text: str) -> str:
    """Neither empty parts between dots, nor labels of the domain with a hyphen at an end.

    >>> email("ada.lovelace+x@mail.example.org"), email("a..b@example.org")
    ('ada.lovelace+x@mail.example.org', '')
    """
    local, _, domain = text.partition("@")
    labels = domain.split(".")
    fine = all(local.split(".")) and all(not (x.startswith("-") or x.endswith("-")) for x in labels)
    return text if fine and len(domain) <= 253 else ""

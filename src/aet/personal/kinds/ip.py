"""Addresses of machines, IPv4 and IPv6; those that point back to the machine itself say nothing about a person."""

from __future__ import annotations

from ipaddress import ip_address

from aet.personal.kind import kind

V4 = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"


@kind(
    "ip",
    rf"(?<![\w.:])(?<!version )(?<!release )(?<!build ){V4}(?!\w)(?!\.[0-9])",
    rf"(?<![\w.:])(?:[0-9a-f]{{0,4}}:){{2,7}}(?:{V4}|[0-9a-f]{{0,4}})(?![\w:])",
    order=25,
)
def ip(text: str) -> str:
    """As the standard library reads it; of IPv6 at least two groups written out.

    >>> ip("192.0.2.7"), ip("2001:db8::7"), ip("127.0.0.1"), ip("300.1.1.1"), ip("10:20:30")
    ('192.0.2.7', '2001:db8::7', '', '', '')
    """
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    vague = address.version == 6 and sum(bool(group) for group in text.split(":")) < 2
    return "" if address.is_loopback or address.is_unspecified or vague else text

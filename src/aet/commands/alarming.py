"""Where `aet serve` sends alarms: what its options say, and secrets from the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aet.errors import ConfigError

if TYPE_CHECKING:
    from aet.monitoring.channels import Channel

SECRET, PASSWORD = "AET_WEBHOOK_SECRET", "AET_MAIL_PASSWORD"
"""Environment variables: what signs webhooks, and the sender's password at the mail server."""


def channels(webhooks: Sequence[str], to: Sequence[str], sender: str | None, host: str | None) -> list[Channel]:
    """The log, and what was named; raises ConfigError for half a mail.

    >>> channels(["https://hooks.example.com/T0"], ["ops@example.com"], "aet@example.com", "mail.example.com")
    [Log(), Webhook('https://hooks.example.com/...'), Email('mail.example.com:587')]
    """
    from aet.monitoring.channels import Email, Log, Webhook
    from aet.serving.server import is_loopback

    found: list[Channel] = [Log()]
    found += [Webhook(url, secret=os.environ.get(SECRET) or None) for url in webhooks]
    if not (to or sender or host):
        return found
    if not (to and sender and host):
        raise ConfigError(
            "A mail has a receiver, a sender and a server: give --mail-to, --mail-from and --mail-host, or none."
        )
    name, _, port = host.rpartition(":") if host.count(":") == 1 else (host, "", "587")
    if not port.isascii() or not port.isdigit():
        raise ConfigError(f"--mail-host is HOST or HOST:PORT, got {host!r}.")
    password = os.environ.get(PASSWORD) or None
    tls = "none" if is_loopback(name) and password is None else "starttls"
    user = sender if password else None
    return [*found, Email(name, sender, to, port=int(port), user=user, password=password, tls=tls)]

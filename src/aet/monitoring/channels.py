"""Where alarms go: the log, a webhook, e-mail. Each sends one alarm, or raises; `aet.monitoring.delivery` tries again.

A channel sends to what its user configured and nowhere else: no redirect is followed. What could be secret (the path
and query of a webhook, passwords) is never in a log line, an error or a `repr`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit

from aet.errors import AetError, ConfigError

LOGGER = logging.getLogger("aet.alarms")
TIMEOUT = 10.0
"""Seconds."""
AGAIN = (408, 425, 429)
"""Refusals that may pass; others of the 400s do not, and are not sent again."""


class NotSent(AetError):
    """An alarm did not go out. `again` says whether another try may help."""

    def __init__(self, said: str, again: bool = True) -> None:
        super().__init__(said)
        self.again = again


class Channel(Protocol):
    """Sends an alarm, a JSON-able mapping (`aet.monitoring.alarms.Alarm.to_dict`); raises NotSent."""

    def send(self, alarm: Mapping[str, Any]) -> None:
        """Send it."""


def one_line(text: Any, most: int = 500) -> str:
    r"""A text that cannot forge a second line, whatever a stream is called.

    >>> one_line("site\n7\x1b[2J")
    'site 7 [2J'
    """
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", str(text)).strip()[:most]


class Log:
    """The logger `aet.alarms`, one warning an alarm."""

    def __repr__(self) -> str:
        return "Log()"

    def send(self, alarm: Mapping[str, Any]) -> None:
        """Write it down."""
        said = {name: one_line(alarm[name]) for name in ("stream", "text", "runbook")}
        LOGGER.warning("stream %s: %s %s", said["stream"], said["text"], said["runbook"])


class Webhook:
    """An HTTP POST with the alarm as JSON.

    Args:
        url: http or https.
        secret: signs the body: the header `X-Aet-Signature` is `sha256=` and the HMAC-SHA256 of it, in hex.
        headers: sent along, say an authorization.
        timeout: seconds.

    Raises ConfigError for another kind of URL.

    >>> Webhook("https://hooks.example.com/services/T0/secret")
    Webhook('https://hooks.example.com/...')
    """

    def __init__(
        self, url: str, secret: str | None = None, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> None:
        try:
            parts = urlsplit(url)
            where, port = parts.hostname, parts.port
        except ValueError:
            raise ConfigError("A webhook's URL cannot be read: expected http://host/... or https://host/...") from None
        if parts.scheme not in ("http", "https") or not where:
            raise ConfigError(
                f"A webhook is an http or https URL with a host: got the scheme {parts.scheme!r}. Write https://host/..."
            )
        if parts.username is not None or parts.password is not None:
            raise ConfigError("A webhook's URL holds no user or password: give an authorization among `headers`.")
        self.where = f"{parts.scheme}://{where}{f':{port}' if port else ''}"
        self._url, self._secret, self._headers, self.timeout = url, secret, dict(headers or {}), timeout

    def __repr__(self) -> str:
        return f"Webhook('{self.where}/...')"

    def send(self, alarm: Mapping[str, Any]) -> None:
        """POST it; any 2xx is an acknowledgement."""
        from urllib.error import HTTPError
        from urllib.request import HTTPRedirectHandler, Request, build_opener

        class Stay(HTTPRedirectHandler):
            def redirect_request(self, *_: Any, **__: Any) -> None:
                return None

        body = json.dumps(dict(alarm)).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "aet", **self._headers}
        if self._secret is not None:
            signature = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Aet-Signature"] = f"sha256={signature}"
        try:
            with build_opener(Stay).open(Request(self._url, body, headers, method="POST"), timeout=self.timeout):
                return
        except HTTPError as error:
            error.close()
            again = error.code >= 500 or error.code in AGAIN
            raise NotSent(f"The webhook at {self.where} answered {error.code}.", again) from None
        except (OSError, HTTPException, ValueError) as error:
            raise NotSent(f"The webhook at {self.where} was not reached ({type(error).__name__}).") from None


class Email:
    """A plain text mail by SMTP.

    Args:
        host: of the mail server.
        sender: its address.
        to: addresses of the receivers.
        port: of the mail server.
        user: to log in with, if the server wants it.
        password: of that user.
        tls: "starttls" (default), "tls" from the start, or "none" for a server on this machine.
        timeout: seconds.

    Raises ConfigError for no receiver, an unknown `tls`, or a password that would go out in the clear.

    >>> Email("mail.example.com", "aet@example.com", ["ops@example.com"], user="aet", password="secret")
    Email('mail.example.com:587')
    """

    def __init__(
        self,
        host: str,
        sender: str,
        to: Sequence[str],
        port: int = 587,
        user: str | None = None,
        password: str | None = None,
        tls: str = "starttls",
        timeout: float = TIMEOUT,
    ) -> None:
        if tls not in ("starttls", "tls", "none"):
            raise ConfigError(f"tls is 'starttls', 'tls' or 'none': got {tls!r}.")
        if isinstance(to, str) or not to or any(one_line(a) != a or "@" not in a for a in (sender, *to)):
            raise ConfigError("A mail has one sender and a list of one receiver or more, each name@host.")
        if user is not None and tls == "none":
            raise ConfigError("A password would go out in the clear: set tls to 'starttls' or 'tls', or give no user.")
        self.host, self.port, self.sender, self.to = host, port, sender, tuple(to)
        self._user, self._password, self.tls, self.timeout = user, password, tls, timeout

    def __repr__(self) -> str:
        return f"Email('{self.host}:{self.port}')"

    def send(self, alarm: Mapping[str, Any]) -> None:
        """Mail it."""
        import smtplib
        import ssl
        from email.message import EmailMessage

        mail = EmailMessage()
        mail["Subject"] = one_line(f"[aet] {alarm['kind']} alarm on stream {alarm['stream']}", 200)
        mail["From"], mail["To"] = self.sender, ", ".join(self.to)
        lines = [one_line(alarm[name], 2000) for name in ("text", "runbook")]
        mail.set_content(
            "\n\n".join([*lines, f"Stream {one_line(alarm['stream'])}, row {alarm['row']}, {alarm['opened']}."])
        )
        try:
            if self.tls == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    self.host, self.port, timeout=self.timeout, context=ssl.create_default_context()
                )
            else:
                server = smtplib.SMTP(self.host, self.port, timeout=self.timeout)
            with server:
                if self.tls == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if self._user is not None:
                    server.login(self._user, self._password or "")
                server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            again = 400 <= error.smtp_code < 500
            raise NotSent(f"The mail server {self.host}:{self.port} answered {error.smtp_code}.", again) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(f"The mail server {self.host}:{self.port} took no mail ({type(error).__name__}).") from None

"""What every answer says to a browser: run nothing that was not meant, sit in no frame, keep nothing, tell nobody."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aet.errors import ConfigError
from aet.serving.replies import reply

CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The policy of an answer that brings none of its own: nothing may run, load or be framed."""
HEADERS = {
    "content-security-policy": CLOSED,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Set where the app has not set them itself."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
PORT = re.compile(r":[0-9]+$")
SAFE = ("GET", "HEAD", "OPTIONS")
RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
STRICT = (b"strict-transport-security", b"max-age=31536000")


class SecureHeaders:
    """ASGI middleware: `HEADERS` on every answer, and strict transport where the request came by TLS."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with them."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                named = {name.lower() for name, _ in given}
                more = [*RAW, STRICT] if scope.get("scheme") == "https" else RAW
                message = {**message, "headers": given + [line for line in more if line[0] not in named]}
            await send(message)

        await self.app(scope, receive, sent)


class SameOrigin:
    """ASGI middleware: what changes something is refused (403) if a page of another origin sent it.

    A browser that remembers a key sends it along with whatever any page asks for; `Origin` tells which page it was.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self.app, self.origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse it, or go on."""
        changes = scope["type"] == "http" and scope["method"] not in SAFE
        if changes and any(name == b"origin" for name, _ in scope["headers"]) and not self.may(scope):
            await reply(send, 403, "A page of another origin may not do this. Allow it with `origins`.")
            return
        await self.app(scope, receive, send)

    def may(self, scope: Scope) -> bool:
        """Whether the page that sent it is of this server, or of an origin that may call."""
        headers = Headers(scope=scope)
        origin, host = headers["origin"], headers.get("host")
        here = f"{scope.get('scheme', 'http')}://{host or ''}"
        # Behind a proxy that ends TLS the scheme may differ; the host may not.
        return origin == here or urlsplit(origin).netloc == host or origin in self.origins


class KnownHosts:
    """ASGI middleware: a request that names another host than these (421) was led here by someone else's name."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse it, or go on."""
        if scope["type"] == "http":
            named = Headers(scope=scope).getlist("host")
            if len(named) != 1 or PORT.sub("", named[0].lower()) not in self.hosts:
                await reply(send, 421, f"This server answers to {', '.join(sorted(self.hosts))} only.")
                return
        await self.app(scope, receive, send)


def checked_origins(origins: Sequence[str]) -> list[str]:
    """Origins as browsers send them; ConfigError for others, and for `*`.

    >>> checked_origins(["https://dash.example.com"])
    ['https://dash.example.com']
    """
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            raise ConfigError(
                "An origin is a scheme and a host without a path, such as https://dash.example.com; '*' would let any "
                f"page use the keys of whoever opens it. Got {origin!r}."
            )
    return list(origins)

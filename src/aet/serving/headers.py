"""What every answer says to a browser: run nothing that was not meant, sit in no frame, keep nothing, tell nobody."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
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
BLOCK = re.compile(r"<(script|style)(?:\s[^<>]*)?>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)


def page_policy(html: str) -> str:
    """The policy of a page: the inline scripts and styles that it has, by their SHA-256, and no others.

    >>> page_policy("<style>p{}</style>")
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-...'; img-src 'self' data:; ..."
    """
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, content in BLOCK.findall(html):
        sha = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        if content.strip() and f"'sha256-{sha}'" not in hashes[kind.lower()]:
            hashes[kind.lower()].append(f"'sha256-{sha}'")
    return "; ".join(
        [
            "default-src 'none'",
            " ".join(["script-src 'self'", *hashes["script"]]),
            " ".join(["style-src 'self'", *hashes["style"]]),
            "img-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ]
    )


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
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers.setdefault("strict-transport-security", "max-age=31536000")
                message = {**message, "headers": headers.raw}
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
        if scope["type"] == "http" and scope["method"] not in SAFE:
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            here = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
            # Behind a proxy that ends TLS the scheme may differ; the host may not.
            own = origin is None or origin == here or urlsplit(origin).netloc == headers.get("host")
            if not own and origin not in self.origins:
                await reply(send, 403, "A page of another origin may not do this. Allow it with `origins`.")
                return
        await self.app(scope, receive, send)


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

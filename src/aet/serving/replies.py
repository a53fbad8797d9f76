"""Answers: those given before the app is reached, in the form of its own refusals; and what status one had."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping

from starlette.types import Message, Send


async def reply(
    send: Send, status: int, why: str, headers: Mapping[str, str] | None = None, then: Awaitable[None] | None = None
) -> None:
    """A whole answer, `{"error": {"kind": "Refused", "message": why}}`; the connection is done with it after `then`."""
    body = json.dumps({"error": {"kind": "Refused", "message": why}}).encode()
    lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": raw})
    if then is None:
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await then
    await send({"type": "http.response.body", "body": b""})


class Told:
    """`send`, and the status that went out by it; 500 until one did.

    >>> Told(None).status
    500
    """

    def __init__(self, send: Send) -> None:
        self.send, self.status = send, 500

    async def __call__(self, message: Message) -> None:
        """Send it on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self.send(message)

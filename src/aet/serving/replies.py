"""Answers that are given before the app is reached, in the same form as the app's own refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.types import Send


async def reply(send: Send, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
    """A whole answer, `{"error": {"kind": "Refused", "message": why}}`."""
    body = json.dumps({"error": {"kind": "Refused", "message": why}}).encode()
    lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": raw})
    await send({"type": "http.response.body", "body": body})

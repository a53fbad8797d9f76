"""What stands between the network and the app: limits, headers, who may do what, and a line about it.

app = FastAPI()
on_refusal(app)

@app.post("/streams/{name}/reset")
async def reset(name: str, caller: Annotated[Caller, Depends(need("feedback", act="reset"))]): ...

served = guarded(app, Keys(engine), audit=store.audit)
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, NamedTuple

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from aet.errors import ConfigError, nearest
from aet.serving.bodies import Bodies
from aet.serving.headers import KnownHosts, SameOrigin, SecureHeaders, checked_origins
from aet.serving.keys import ROLES, Caller, Keys
from aet.serving.limits import Buckets
from aet.serving.replies import Told, reply

log = logging.getLogger(__name__)

REFUSALS = (401, 403, 408, 413, 429)
"""Statuses that are written into the audit log whatever was asked for."""
LINES_A_MINUTE = 60
"""Lines about refusals for each key, and for all requests without one: a flood of them fills no disk."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Line(NamedTuple):
    """One line of the audit log: who, what, and about which path. Never what was in a row or a query."""

    key: str
    act: str
    about: str


Audit = Callable[[Line], None]


def guarded(
    app: ASGIApp,
    keys: Keys,
    audit: Audit | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    most: int = 8 << 20,
    seconds: float = 30.0,
    depth: int = 32,
    together: int = 256 << 20,
) -> ASGIApp:
    """The app behind all middleware, outermost first: headers, audit, host, origin, CORS, caller, bodies.

    Args:
        app: the ASGI app.
        keys: those that are let in.
        audit: called in a thread with each line: of acts (see `need`) and of refusals.
        origins: other origins whose pages may call; none by default, and then there is no CORS header at all.
        hosts: names under which the server may be called; any if empty. A server without keys must say `LOOPBACK`: else
            a page whose own name is made to lead here reaches it as if it were its own server (DNS rebinding).
        most: bytes of a body.
        seconds: within which a body comes.
        depth: of nesting.
        together: bytes of all bodies at once.
    """
    app = Known(Bodies(app, most=most, seconds=seconds, depth=depth, together=together), keys)
    allowed = checked_origins(origins)
    if allowed:
        app = CORSMiddleware(
            app, allow_origins=allowed, allow_methods=["GET", "POST", "DELETE"], allow_headers=["Authorization"]
        )
    app = SameOrigin(app, allowed)
    if hosts:
        app = KnownHosts(app, hosts)
    if audit is not None:
        app = Audited(app, audit)
    return SecureHeaders(app)


class Audited:
    """ASGI middleware: a line for each act that a route names (`need(role, act=...)`), and for each refusal.

    The line is written once the answer is sent. If writing fails, the error is raised: the server logs it.
    """

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self.app, self.audit = app, audit
        self.refusals = Buckets(rate=LINES_A_MINUTE / 60, burst=LINES_A_MINUTE)
        self.left_out = 0
        """Refusals without a line since the last that had one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then write."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        told = Told(send)
        try:
            await self.app(scope, receive, told)
        finally:
            line = self.line(scope, told.status)
            if line is not None:
                await run_in_threadpool(self.audit, line)

    def line(self, scope: Scope, status: int) -> Line | None:
        """What is written about a request, if anything."""
        caller: Caller | None = scope["state"].get("caller")  # set further in, in the same dict
        act: str | None = scope["state"].get("act")
        who = caller.key if caller else "-"
        about = CONTROL.sub("?", f"{status} {scope['method']} {scope['path']}")
        if status in REFUSALS:
            if self.refusals.take(who, 1):
                self.left_out += 1
                return None
            left_out, self.left_out = self.left_out, 0
            after = f" (and {left_out} more refusals before)" if left_out else ""
            return Line(who, act or "refused", about[: 300 - len(after)] + after)
        return None if act is None else Line(who, act, about[:300])


def token_of(headers: Headers) -> str:
    """The key that a request brings: `Authorization: Bearer KEY`, or Basic with the key as the password; or "".

    Basic is what a browser can ask a person for. Two headers are none.
    """
    given = headers.getlist("authorization")
    kind, _, text = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if kind.lower() == "bearer":
        return text.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(text.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


class Known:
    """ASGI middleware: finds out who calls, before any of the body is read, and notes it in the request's state.

    A key that is not remembered is looked up in a thread, so that the event loop goes on. 503 while the store of the
    keys cannot be asked. Nobody is refused here: that is `need`'s part.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the caller, and go on."""
        if scope["type"] == "http":
            brings = any(name == b"authorization" for name, _ in scope["headers"])
            token = token_of(Headers(scope=scope)) if brings else ""
            try:
                scope.setdefault("state", {})["caller"] = (
                    self.keys.caller(token)
                    if self.keys.remembers(token)
                    else await run_in_threadpool(self.keys.caller, token)
                )
            except SQLAlchemyError:
                log.exception("The store of the keys cannot be asked.")
                await reply(send, 503, "The store cannot be reached. Try again.", {"retry-after": "5"})
                return
        await self.app(scope, receive, send)


NONE = "A key is needed: Authorization: Bearer KEY."
UNKNOWN = "This key is not known, or was revoked. `aet keys list` names those there are; ask for another one."
"""Of a key that was given. Which of the two it was is not said."""
BEARER = HTTPBearer(auto_error=False, description="A key that `aet keys add` printed.")


def need(role: str, act: str | None = None) -> Callable[..., Awaitable[Caller]]:
    """A dependency that gives the caller: 401 without a good key, 403 with one whose role does not reach `role`.

    `act` names what the route does for the audit log; leave it out for what only reads. The app must be `guarded`:
    without it nobody is known, and every request is refused.
    """
    if role not in ROLES:
        raise ConfigError(f"There is no role {role!r}. {nearest(role, ROLES)}")

    async def caller(
        request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)] = None
    ) -> Caller:
        found: Caller | None = getattr(request.state, "caller", None)
        if act is not None:
            request.state.act = act
        if found is None:
            brought = token_of(request.headers)
            raise HTTPException(401, UNKNOWN if brought else NONE, {"WWW-Authenticate": ask(request)})
        if not found.may(role):
            raise HTTPException(403, f"This takes a key of the role {role}; this one has the role {found.role}.")
        return found

    return caller


def ask(request: Request) -> str:
    """How to ask for a key: a browser that wants a page asks the person, anything else is told."""
    kind = "Basic" if "text/html" in request.headers.get("accept", "") else "Bearer"
    return f'{kind} realm="aet"'

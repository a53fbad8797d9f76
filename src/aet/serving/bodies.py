"""What a request's body may cost before anything reads it: bytes, seconds, depth of nesting, bytes of all at once."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus

import numpy as np
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aet.serving.replies import reply

STRANGER = 64 << 10
"""Bytes of a body without a good key: whoever has none cannot fill the memory that the others need."""
LINGER = 2.0
"""Seconds for which the rest of a refused body is read, and dropped ..."""
DRAINED = 4
"""... up to so many times the bytes that a body may have."""
STEPS = bytes.maketrans(b'[{]}"', b"\x01\x01\xff\xff\x00")
"""One level in, one level out (-1 as a byte), and where a string begins or ends."""
OTHERS = bytes(set(range(256)) - set(b'[{]}"'))


def deeper_than(body: bytes, depth: int) -> bool:
    """Whether JSON opens more than `depth` brackets within each other; linear in its length, no recursion.

    >>> deeper_than(b'{"a": [1, 2], "b": "[[[["}', 2), deeper_than(b"[[[]]]", 2)
    (False, True)
    """
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    steps = np.frombuffer(bare.translate(STEPS, OTHERS), dtype=np.int8)
    outside = np.bitwise_xor.accumulate(steps == 0) == 0
    return int((steps * outside).cumsum(dtype=np.int32).max(initial=0)) > depth


class Refused(Exception):
    """A body that is not taken, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Bodies:
    """ASGI middleware: takes a request's whole body, within limits, before the app is called.

    Args:
        app: what is called then.
        most: bytes of a body (413); `STRANGER` of them from whoever is not known.
        seconds: within which the whole body has come (408).
        depth: of brackets within each other (400).
        together: bytes of all bodies that are being taken or answered (503): many large requests at once.
    """

    def __init__(
        self, app: ASGIApp, most: int = 8 << 20, seconds: float = 30.0, depth: int = 32, together: int = 256 << 20
    ) -> None:
        self.app, self.most, self.seconds, self.depth, self.together = app, most, seconds, depth, together
        self.held = 0
        """Bytes of bodies now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the body, or give it to the app in one piece."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held, taken = Held(self), Taken(receive)
        try:
            try:
                body = await self.take(scope, taken, held)
            except Refused as refused:
                # What is still to come of the body would be read as the next request.
                after = {"connection": "close"} | ({"retry-after": "1"} if refused.status == 503 else {})
                await reply(send, refused.status, refused.why, after, taken.drained(DRAINED * self.most))
                return
            if body is not None:
                await self.app(scope, replay(body, receive), send)
        finally:
            held.free()

    async def take(self, scope: Scope, receive: Receive, held: Held) -> bytes | None:
        """The body; None if the client went away."""
        sizes = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not size.isdigit() for size in sizes) or len(set(sizes)) > 1:
            raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length is one number of bytes.")
        most = self.most if scope.get("state", {}).get("caller") else min(STRANGER, self.most)
        if sizes and (len(sizes[0]) > 18 or int(sizes[0]) > most):
            raise too_large(most)
        try:
            async with asyncio.timeout(self.seconds):
                body = await collect(receive, held, most)
        except TimeoutError:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT, f"The body did not come within {self.seconds:g} seconds."
            ) from None
        if body is not None:
            self.check(body)
        return body

    def check(self, body: bytes) -> None:
        """Refuse what is nested too deep, or hides its brackets in an encoding other than UTF-8."""
        if b"\0" in body:
            raise Refused(HTTPStatus.BAD_REQUEST, "A body is text in UTF-8; this one holds a zero byte.")
        if deeper_than(body, self.depth):
            raise Refused(HTTPStatus.BAD_REQUEST, f"JSON here is nested at most {self.depth} deep.")


class Taken:
    """`receive`, and whether it has given all of the body."""

    def __init__(self, receive: Receive) -> None:
        self.receive, self.whole = receive, False

    async def __call__(self) -> Message:
        """The next piece."""
        message = await self.receive()
        self.whole = not message.get("more_body", False)
        return message

    async def drained(self, most: int) -> None:
        """Read on for `LINGER` seconds and `most` bytes at most. A socket closed over bytes that nobody read is reset,
        and the reset overtakes the answer: clients that send all before they read would never see why.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while not self.whole and most > 0:
                    most -= len((await self()).get("body", b""))


class Held:
    """The bytes of one request among those of all."""

    def __init__(self, bodies: Bodies) -> None:
        self.bodies, self.size = bodies, 0

    def add(self, size: int) -> None:
        """Count them; refuse where all requests together hold too many."""
        self.size += size
        self.bodies.held += size
        if self.bodies.held > self.bodies.together:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Too many large requests at once. Try again.")

    def free(self) -> None:
        """The request is answered."""
        self.bodies.held -= self.size
        self.size = 0


async def collect(receive: Receive, held: Held, most: int) -> bytes | None:
    """The body, None if it broke off. Piece by piece: without a length it is refused as soon as it is too large."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise too_large(most)
        held.add(len(piece))
        if piece:
            pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def too_large(most: int) -> Refused:
    """The answer to a body over `most`."""
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"A body has at most {most:,} bytes here ({STRANGER:,} without a good key). Send the rows in parts.",
    )


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece, and then what the client does."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again

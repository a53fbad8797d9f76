"""The process: a socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import logging
import platform
import signal
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from aet.errors import ConfigError

GRACE = 60
"""Seconds for requests that were accepted before the end."""
LARGE, M_MMAP_THRESHOLD = 1 << 20, -3
"""Bytes from which a block of memory goes back to the system once it is free; how glibc calls that."""
CONNECTIONS = 2048
"""Connections at a time; more are refused with 503."""


class Patience(H11Protocol):
    """A connection whose request has no whole head within `seconds` is closed: slow clients hold nothing."""

    seconds = 15.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody came."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """They went."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """Says when it listens."""

    listening: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then listen."""
        await super().startup(sockets)
        if self.started and self.listening is not None:
            self.listening()


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address; port 0 takes a free one. Raises ConfigError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ConfigError(
            f"Nothing can be served at {host}:{port} ({error.strerror or error}). Take another --port, or 0 for any "
            "that is free."
        ) from error
    return made


def server_of(app: ASGIApp, listening: Callable[[], None]) -> Server:
    """An HTTP server for this app; `listening` is called once it listens."""
    config = uvicorn.Config(
        app,
        http=Patience,
        ws="none",
        lifespan="on",
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    server = Server(config)
    server.listening = listening
    return server


def run(server: Server, at: socket.socket) -> bool:
    """Serve until Ctrl-C or SIGTERM, finish what was accepted; whether it started at all."""
    give_back_large_blocks()
    # uvicorn raises the signal again once all is finished: that is then no interruption any more.
    before = {number: signal.signal(number, finished) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[at])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        at.close()
    return server.started


def give_back_large_blocks() -> bool:
    """Let glibc return large blocks at once; whether it does.

    By itself it comes to keep blocks of up to 32 MB, and passes of ever other sizes (`ask` looks at up to 256 rows, a
    pass answers 1 to 64) leave holes between them that fit no later one: memory grew by 4 MB an `ask`.
    """
    return platform.libc_ver()[0] == "glibc" and ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE) == 1


def finished(number: int, frame: Any) -> None:
    """A signal that was heard already."""

"""The process: a socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import ctypes
import gc
import ipaddress
import logging
import platform
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from aet.errors import ConfigError
from aet.serving.patience import protocol

GRACE = 60
"""Seconds for requests that were accepted before the end."""
LARGE, M_MMAP_THRESHOLD, M_ARENA_MAX = 1 << 20, -3, -8
"""Bytes from which a block of memory goes back to the system once it is free; how glibc calls that, and its arenas."""
NEW_OBJECTS = 20_000
"""Objects more than before until Python looks for cycles among them: at its own 700 it looked through all streams every
three seconds, 0.1 seconds for 1,000 of them."""
CONNECTIONS = 2048
"""Connections at a time; more are refused with 503."""


class Server(uvicorn.Server):
    """Says when it listens."""

    listening: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then listen."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what was loaded stays: to look through it again took 0.3 seconds each time
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
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
        http=protocol(),
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
    give_back_memory()
    # uvicorn raises the signal again once all is finished: that is then no interruption any more.
    before = {number: signal.signal(number, finished) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[at])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        at.close()
    return server.started


def give_back_memory() -> bool:
    """Let glibc return large blocks at once, and take all small ones from one place; whether it does.

    By itself it comes to keep blocks of up to 32 MB, and passes of ever other sizes (`ask` looks at up to 256 rows, a
    pass answers 1 to 64) leave holes between them that fit no later one: memory grew by 4 MB an `ask`. And each thread
    gets a place of its own, with holes of its own (docs/lab/serving.md).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(*setting) == 1 for setting in ((M_MMAP_THRESHOLD, LARGE), (M_ARENA_MAX, 1)))


def finished(number: int, frame: Any) -> None:
    """A signal that was heard already."""

"""A refused body over a real socket: the client that sends all of it before it reads still hears why."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from aet.serving.bodies import LINGER, Bodies
from aet.serving.server import bound, server_of


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for done in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            await receive()
            await send({"type": done})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port():
    at, up = bound("127.0.0.1", 0), threading.Event()

    async def guarded(scope, receive, send):
        await (Bodies(app, most=1 << 20, seconds=0.3) if scope["type"] == "http" else app)(scope, receive, send)

    server = server_of(guarded, up.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
    thread.start()
    assert up.wait(30)
    yield at.getsockname()[1]
    server.should_exit = True
    thread.join()
    at.close()


def ask(port, head, body=b""):
    with socket.create_connection(("127.0.0.1", port)) as to:
        to.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n\r\n")
        to.sendall(body)
        return to.makefile("rb").read()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_all_before_it_reads_hears_413(port, chunked):
    size = 1_500_000
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b" " * size) if chunked else b" " * size
    head = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % size
    for _ in range(3):
        said = ask(port, head, body)
        assert said.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in said.lower()
        assert b"Send the rows in parts." in said


def test_what_never_comes_is_not_waited_for_long(port):
    started = time.monotonic()
    assert ask(port, b"content-length: 3000000", b"x").startswith(b"HTTP/1.1 413")
    assert time.monotonic() - started < LINGER + 5
    assert ask(port, b"content-length: 10", b"x").startswith(b"HTTP/1.1 408")

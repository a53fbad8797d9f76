"""Connections that wait for the head of a request wait for so long and no longer: slow clients hold nothing.

uvicorn's two protocols for HTTP/1.1 are taken alike: that of llhttp, where `httptools` is installed, and else h11 in
pure Python, which takes several times as long.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 64 << 10
"""Bytes that the head of a request may have; h11 has the same bound of its own."""

if TYPE_CHECKING:

    class Connection(asyncio.Protocol):
        """What uvicorn's protocols have in common."""

        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport
else:
    Connection = object


class Patience(Connection):
    """A connection whose request has no whole head within `seconds` is closed: to be mixed into a protocol."""

    seconds = 15.0
    _timer: asyncio.TimerHandle | None = None

    def heading(self) -> bool:
        """Whether the next bytes belong to the head of a request."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody came."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        super().data_received(data)
        if self.heading():
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


class PatientH11(Patience, H11Protocol):
    """h11's connection."""

    def heading(self) -> bool:
        """As h11 knows it."""
        return self.conn.their_state is h11.IDLE


def protocol() -> type[asyncio.Protocol]:
    """The one to serve with: llhttp's if `httptools` is installed."""
    return patient_llhttp() if importlib.util.find_spec("httptools") else PatientH11


def patient_llhttp() -> type[asyncio.Protocol]:
    """The connection of llhttp; it has no bound on heads of its own."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class PatientLlhttp(Patience, HttpToolsProtocol):
        """Counts what comes before a head is whole."""

        _whole = False
        _bytes = 0

        def heading(self) -> bool:
            """Until a head is whole, and again once its request is answered."""
            return not self._whole or self.cycle is None or bool(self.cycle.response_complete)

        def data_received(self, data: bytes) -> None:
            """Some bytes came: a head that is too long is refused."""
            if self.heading():
                self._bytes += len(data)
            super().data_received(data)
            if not self._whole and self._bytes > HEAD and not self.transport.is_closing():
                self.send_400_response("The head of this request is too long.")

        def on_message_begin(self) -> None:
            """A request begins."""
            super().on_message_begin()
            self._whole, self._bytes = False, 0

        def on_headers_complete(self) -> None:
            """Its head is whole."""
            self._whole, self._bytes = True, 0
            super().on_headers_complete()

    return PatientLlhttp

"""What a server refuses, each with its HTTP status and how long to wait."""

from __future__ import annotations

from concurrent.futures import Future
from http import HTTPStatus
from typing import ClassVar

from aet.errors import AetError, StoreError
from aet.serving.keys import Forbidden
from aet.serving.limits import Exceeded, TooLarge


class Refusal(AetError):
    """Base of what only a server refuses."""

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    wait: ClassVar[int | None] = None
    """Seconds after which it is worth another try."""


class Unknown(Refusal):
    """There is no model, stream or version of that name, or it is another owner's."""

    status = HTTPStatus.NOT_FOUND


class Taken(Refusal):
    """A stream of that name is there already, or runs on another model."""

    status = HTTPStatus.CONFLICT


class Busy(Refusal):
    """More rows wait than the server takes in."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    wait = 1


class Elsewhere(Busy):
    """The stream is with another server, which was asked for it; `coming` is done when it is here."""

    def __init__(self, coming: Future[None]) -> None:
        super().__init__("The stream is with another server, which has not handed it over yet. Try again in a second.")
        self.coming = coming


class Stopping(Refusal):
    """The server finishes what it accepted and takes no more."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    wait = 5


class TooLate(Refusal):
    """The answer did not come within the request's deadline."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    wait = 1


def status_of(error: AetError) -> tuple[HTTPStatus, int | None]:
    """The status of an error and the seconds to wait, None if waiting does not help.

    >>> from aet.errors import DataError
    >>> [int(status_of(error)[0]) for error in (DataError("no rows"), Busy("full"), Exceeded("too many", 3))]
    [422, 503, 429]
    """
    if isinstance(error, Refusal):
        return error.status, error.wait
    if isinstance(error, Exceeded):
        return HTTPStatus.TOO_MANY_REQUESTS, error.seconds
    if isinstance(error, TooLarge):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, None
    if isinstance(error, Forbidden):
        return HTTPStatus.FORBIDDEN, None
    if isinstance(error, StoreError):
        return HTTPStatus.SERVICE_UNAVAILABLE, 5
    return HTTPStatus.UNPROCESSABLE_ENTITY, None

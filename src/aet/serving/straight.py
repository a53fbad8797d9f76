"""Routes for rows, reached the short way: most requests are for them, and the way there costs more than the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from aet.serving.guarding import need

ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Answer(JSONResponse):
    """JSON in ASCII: half a surrogate pair in a text that came in must not break the answer."""

    def render(self, content: Any) -> bytes:
        """As bytes."""
        return ENCODER.encode(content).encode("ascii")


class Straight(APIRoute):
    """A route for rows: its body is read and checked in one go, which takes a quarter of the time of going through
    FastAPI's dependencies. What it asks for is still what its function says.
    """

    def get_route_handler(self) -> Handler:
        """Body and caller to the function."""
        form: Any = self.body_field.field_info.annotation if self.body_field else None
        who = need("predict")
        assert form is not None
        read = form.model_validate_json

        async def handle(request: Request) -> Response:
            caller = await who(request)
            try:
                body = read(await request.body())
            except ValidationError as error:
                faults = error.errors(include_url=False, include_context=False, include_input=False)
                raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error
            answer: Response = await self.endpoint(body, caller)
            return answer

        return handle


class Shortcut:
    """ASGI middleware: what is posted to a `Straight` route goes to it past the router, all else to the app.

    Args:
        app: what the others go to.
        of: the app whose routes and handlers of errors these are; with them an error is answered in the same words.
        routes: by their paths.
    """

    def __init__(self, app: ASGIApp, of: FastAPI, routes: Mapping[str, Straight]) -> None:
        self.app, self.of = app, of
        self.routes = {path: (route, route.get_route_handler()) for path, route in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or go on."""
        found = self.routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self.app(scope, receive, send)
            return
        scope["route"], handle = found
        request = Request(scope, receive)
        try:
            response = await handle(request)
        except Exception as error:
            known = next((self.of.exception_handlers[kind] for kind in self.kinds(error)), None)
            if known is None:
                raise
            response = await known(request, error)  # type: ignore[misc]
        await response(scope, receive, send)

    def kinds(self, error: Exception) -> list[type]:
        """Of an error, those that the app has words for; a fault of ours is left to what stands around the app."""
        return [kind for kind in type(error).__mro__ if kind is not Exception and kind in self.of.exception_handlers]

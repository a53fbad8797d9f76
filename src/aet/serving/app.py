"""The ASGI app: routes, and errors as JSON. What the routes do is in `aet.serving.service`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp

from aet.errors import AetError
from aet.serving.alarming import alarms
from aet.serving.asks import Ask
from aet.serving.batching import Batcher
from aet.serving.feeding import Feeding
from aet.serving.forms import Asked, AskFor, Create, Feedback, Name, Predict, Predicted, Taken, Undo, Wrong
from aet.serving.guarding import Line, guarded, need
from aet.serving.inference import inference
from aet.serving.keys import LIFE, Caller, Keys, owner_of
from aet.serving.limits import Limits
from aet.serving.metrics import TYPE, Measured, Metrics
from aet.serving.pages import pages
from aet.serving.refusals import status_of
from aet.serving.service import Service
from aet.serving.straight import Answer, Shortcut, Straight
from aet.serving.version_routes import version_routes

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Wrong} for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 503, 504)
}
LOCAL = Caller("local", "admin", "local")
Reads = Annotated[Caller, Depends(need("predict"))]
Owner = Annotated[str | None, Query(max_length=64, description="Another's streams, for an admin.")]


class Open:
    """In the place of `Keys` while there are none: whoever reaches the server may do everything.

    Once a key is made, here or by another program, it and others are needed from then on.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys, self.closed, self.looked = keys, False, -LIFE

    def remembers(self, token: str) -> bool:
        """Whether `caller` answers without asking the database."""
        return self.keys.remembers(token) if self.closed else time.monotonic() - self.looked < LIFE

    def caller(self, token: str) -> Caller | None:
        """Everyone is the same, until there are keys."""
        if not self.closed and time.monotonic() - self.looked >= LIFE:
            self.closed = any(key.revoked is None for key in self.keys.all())
            self.looked = time.monotonic()
        return self.keys.caller(token) if self.closed else LOCAL


def create_app(
    service: Service, batcher: Batcher | None = None, limits: Limits | None = None, metrics: Metrics | None = None
) -> FastAPI:
    """The app without keys, limits of bodies and secure headers: `protected` puts it behind these.

    Args:
        service: what is served; started and stopped with the app.
        batcher: how rows of requests are brought together.
        limits: of each key.
        metrics: counters to go on with.
    """
    batcher, limits, metrics = batcher or Batcher(service), limits or Limits(), metrics or Metrics()
    metrics.watch(batcher)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        batcher.start()
        app.state.ready = True
        yield
        app.state.ready = False
        await batcher.stop()
        await run_in_threadpool(service.stop)

    app = FastAPI(
        title="aet",
        summary="A model that stays right after it is deployed.",
        description="Send rows, get answers; send what was true when it is known.",
        version="1",
        lifespan=life,
        docs_url=None,  # these pages load scripts from elsewhere, which no answer of this server may
        redoc_url=None,
        default_response_class=Answer,
        responses=REFUSALS,
    )
    app.state.ready, app.state.metrics, app.state.service, app.state.batcher = False, metrics, service, batcher
    errors_as_json(app)
    straight = add_rows(app, service, batcher, limits, metrics)
    app.add_middleware(Shortcut, of=app, routes=straight)
    app.add_middleware(Measured, metrics=metrics)
    add_streams(app, service, limits)
    app.include_router(inference(service, batcher, limits, metrics))
    app.include_router(version_routes(service, limits))
    app.include_router(alarms(service, limits))
    app.include_router(pages(service, limits, metrics))

    @app.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics(caller: Reads) -> Response:
        """Figures for Prometheus."""
        return Response(await run_in_threadpool(metrics.text), media_type=TYPE)

    return app


def protected(app: FastAPI, keys: Keys | None, **settings: Any) -> ASGIApp:
    """The app behind keys, limits of bodies, secure headers and the audit log; without keys everyone is let in."""
    store = app.state.service.store

    def audit(line: Line) -> None:
        store.audit(*line)

    return guarded(app, keys or Open(Keys(store.engine)), audit=audit, **settings)  # type: ignore[arg-type]


def errors_as_json(app: FastAPI) -> None:
    """`{"error": {"kind", "message"}}` for whatever is refused."""

    def wrong(status: int, kind: str, message: str, headers: Any = None) -> Answer:
        return Answer({"error": {"kind": kind, "message": message}}, status, headers)

    async def aet_error(request: Request, error: Exception) -> Answer:
        assert isinstance(error, AetError)
        status, wait = status_of(error)
        return wrong(status, type(error).__name__, str(error), {"Retry-After": str(wait)} if wait else None)

    async def form_error(request: Request, error: Exception) -> Answer:
        assert isinstance(error, RequestValidationError)
        known = request.headers.get("content-type", "").startswith("application/json")
        hint = "" if known else " Send it as JSON: Content-Type: application/json, or curl --json."
        return wrong(422, "FormError", described(error.errors()) + hint)

    async def http_error(request: Request, error: Exception) -> Answer:
        assert isinstance(error, StarletteHTTPException)
        return wrong(error.status_code, "HTTPError", str(error.detail), error.headers)

    async def fault(request: Request, error: Exception) -> Answer:
        return wrong(500, "Fault", "This is a fault of the server, not of the request. Its log says more.")

    app.add_exception_handler(AetError, aet_error)
    app.add_exception_handler(RequestValidationError, form_error)
    app.add_exception_handler(StarletteHTTPException, http_error)
    app.add_exception_handler(Exception, fault)


def described(errors: Sequence[Any]) -> str:
    """What is wrong with a body, its first three faults, without the values that were sent."""
    said = [f"{'.'.join(map(str, error['loc']))[:200]}: {error['msg']}" for error in errors[:3]]
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return f"{'; '.join(said)}{more}. See /openapi.json for the form of this request."


def add_rows(app: FastAPI, service: Service, batcher: Batcher, limits: Limits, metrics: Metrics) -> dict[str, Straight]:
    """Rows in, answers out; labels in; rows asked for. Gives the routes for rows, by their paths."""
    straight, feeding = APIRouter(route_class=Straight), Feeding(service, limits, metrics)

    @straight.post("/predict", tags=["rows"], response_model=Predicted)
    async def predict(form: Predict, caller: Reads) -> Response:
        """Answer rows. The stream is made if it is not there."""
        owner = owner_of(caller, form.owner)
        limits.request(caller, len(form.rows))
        limits.share(caller, form.stream, len(form.rows))
        found = await batcher.predict(Ask(owner, form.stream, form.rows, form.model, form.proba))
        metrics.answered(found.rows)
        said = {"model": found.model, "version": found.version, "stream": found.stream, "answers": found.rows}
        return Answer(said)

    app.include_router(straight)

    @app.post("/feedback", tags=["rows"])
    async def feedback(form: Feedback, caller: Annotated[Caller, Depends(need("feedback", act="feedback"))]) -> Taken:
        """True labels of rows that were answered. Once this is answered they are kept, whatever happens."""
        owner = owner_of(caller, form.owner)
        limits.request(caller)
        labels = [truth.line(form.at_random) for truth in form.labels]
        learning = await feeding.take(caller, owner, form.stream, labels, form.at_random)
        if form.wait:
            await asyncio.wait([asyncio.wrap_future(learning)], timeout=batcher.deadline)
        return Taken(stream=form.stream, kept=len(labels), learned=learning.done() and learning.exception() is None)

    @app.post("/ask", tags=["rows"])
    async def ask(form: AskFor, caller: Annotated[Caller, Depends(need("feedback", act="ask"))]) -> Asked:
        """Rows that are worth a label, drawn with known probabilities."""
        limits.request(caller)
        owner = owner_of(caller, form.owner)
        ids = await run_in_threadpool(service.ask, owner, form.stream, form.count, form.newest)
        return Asked(stream=form.stream, ids=ids)

    return {route.path: route for route in straight.routes if isinstance(route, Straight)}


def add_streams(app: FastAPI, service: Service, limits: Limits) -> None:
    """Streams: list, make, look at, take back, forget."""

    async def act(caller: Caller, owner: str | None, what: Any, *given: Any) -> Answer:
        limits.request(caller)
        return Answer(await run_in_threadpool(what, owner_of(caller, owner), *given))

    @app.get("/streams", tags=["streams"], response_model=list[dict[str, Any]])
    async def streams(caller: Reads, owner: Owner = None) -> Response:
        """The streams there are."""
        return await act(caller, owner, service.streams)

    @app.post("/streams", tags=["streams"], status_code=201, response_model=dict[str, Any])
    async def create(form: Create, caller: Annotated[Caller, Depends(need("feedback", act="create"))]) -> Response:
        """Make a stream with settings of its own."""
        made = await act(caller, form.owner, service.create, form.stream, form.model, form.settings)
        made.status_code = 201
        return made

    @app.get("/streams/{name}", tags=["streams"], response_model=dict[str, Any])
    async def describe(name: Name, caller: Reads, owner: Owner = None) -> Response:
        """What a stream is now: rows, labels, who serves and why."""
        return await act(caller, owner, service.describe, name)

    @app.delete("/streams/{name}", tags=["streams"], response_model=dict[str, Any])
    async def forget(
        name: Name, caller: Annotated[Caller, Depends(need("admin", act="forget"))], owner: Owner = None
    ) -> Response:
        """Forget a stream and all that is of it."""
        limits.request(caller)
        gone = await run_in_threadpool(service.forget, owner_of(caller, owner), name)
        return Answer({"stream": name, **vars(gone)})

    @app.get("/streams/{name}/state", tags=["streams"], response_model=dict[str, Any])
    async def state(name: Name, caller: Reads, owner: Owner = None) -> Response:
        """How far each dial is from the source."""
        return await act(caller, owner, service.state, name)

    @app.get("/streams/{name}/history", tags=["streams"], response_model=list[dict[str, Any]])
    async def history(
        name: Name, caller: Reads, owner: Owner = None, newest: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Response:
        """What adaptation and guard did and why, the newest first."""
        return await act(caller, owner, service.history, name, newest)

    @app.post("/streams/{name}/undo", tags=["streams"], response_model=dict[str, Any])
    async def undo(
        name: Name,
        caller: Annotated[Caller, Depends(need("feedback", act="undo"))],
        form: Undo | None = None,
        owner: Owner = None,
    ) -> Response:
        """Take the last changes back."""
        return await act(caller, owner, service.undo, name, form.steps if form else 1)

    @app.post("/streams/{name}/reset", tags=["streams"], response_model=dict[str, Any])
    async def reset(
        name: Name, caller: Annotated[Caller, Depends(need("feedback", act="reset"))], owner: Owner = None
    ) -> Response:
        """Back to the source."""
        return await act(caller, owner, service.reset, name)

    @app.get("/drift", tags=["streams"], response_model=dict[str, Any])
    async def drift(caller: Reads, stream: Annotated[Name, Query()] = "default", owner: Owner = None) -> Response:
        """How far a stream's rows are from those of training, what its watch saw, and what to do."""
        return await act(caller, owner, service.drift, stream)

"""The pages for people: `/` and one for each stream; forms that go back to the page they came from.

A browser asks for the key (HTTP Basic: any name, the key as the password) and sends it along from then on; forms of
other sites are refused by their origin (`aet.serving.headers.SameOrigin`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from aet.errors import AetError, DataError
from aet.report.live import overview as drawn_overview
from aet.report.live import refused
from aet.report.live_stream import stream_page
from aet.report.page import policy
from aet.serving.alarming import close_alarm
from aet.serving.feeding import Feeding
from aet.serving.forms import Name
from aet.serving.guarding import need
from aet.serving.keys import Caller, owner_of
from aet.serving.limits import Limits
from aet.serving.metrics import Metrics
from aet.serving.overview import controls, overview
from aet.serving.refusals import status_of
from aet.serving.service import Service
from aet.serving.store import Label
from aet.serving.version_routes import by

Reads = Annotated[Caller, Depends(need("predict"))]
Labels = Annotated[Caller, Depends(need("feedback", act="page"))]
Admin = Annotated[Caller, Depends(need("admin", act="page"))]
MOST_FIELDS = 256


class Page(APIRoute):
    """A route whose refusals people read: a page that says what was wrong, with a link back."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own, with errors drawn."""
        answer = super().get_route_handler()

        async def drawn(request: Request) -> Response:
            try:
                return await answer(request)
            except AetError as error:
                status, wait = status_of(error)
                page = html(refused(str(error)))
                page.status_code = status
                if wait:
                    page.headers["retry-after"] = str(wait)
                return page

        return drawn


def pages(service: Service, limits: Limits, metrics: Metrics) -> APIRouter:
    """The routes; none is part of the API's description."""
    router, since = APIRouter(include_in_schema=False, route_class=Page), datetime.now(UTC)
    feeding = Feeding(service, limits, metrics)

    @router.get("/")
    async def first(caller: Reads) -> Response:
        """The whole server at a glance."""
        limits.request(caller)
        owner = None if caller.may("admin") else caller.owner
        record = await run_in_threadpool(overview, service, owner, caller.role, metrics.load(), since)
        return html(drawn_overview(record))

    @router.get("/page/streams/{owner}/{name}")
    async def one(owner: str, name: Name, caller: Reads) -> Response:
        """A stream."""
        limits.request(caller)
        return html(
            await run_in_threadpool(lambda: stream_page(*controls(service, owner_of(caller, owner), name, caller.role)))
        )

    @router.post("/page/streams/{owner}/{name}/labels")
    async def labels(owner: str, name: Name, request: Request, caller: Labels) -> Response:
        """True answers from the form; fields left at "not known" say nothing."""
        whose, form = owner_of(caller, owner), await fields(request)
        limits.request(caller)
        given = answers(form, await run_in_threadpool(service.answers_with, whose, name))
        if given:
            learned = await feeding.take(caller, whose, name, given)
            await run_in_threadpool(learned.exception, 30.0)
        return back(owner, name)

    @router.post("/page/streams/{owner}/{name}/ask")
    async def ask(owner: str, name: Name, request: Request, caller: Labels) -> Response:
        """More rows worth a label."""
        limits.request(caller)
        await run_in_threadpool(service.ask, owner_of(caller, owner), name, whole(await fields(request), "count"))
        return back(owner, name)

    @router.post("/page/streams/{owner}/{name}/undo")
    async def undo(owner: str, name: Name, request: Request, caller: Labels) -> Response:
        """Take changes back."""
        limits.request(caller)
        await run_in_threadpool(service.undo, owner_of(caller, owner), name, whole(await fields(request), "steps"))
        return back(owner, name)

    @router.post("/page/streams/{owner}/{name}/reset")
    async def reset(owner: str, name: Name, caller: Labels) -> Response:
        """Back to the source."""
        limits.request(caller)
        await run_in_threadpool(service.reset, owner_of(caller, owner), name)
        return back(owner, name)

    @router.post("/alarms/close")
    async def close(request: Request, caller: Admin) -> Response:
        """An alarm was looked after."""
        limits.request(caller)
        await run_in_threadpool(close_alarm, service, whole(await fields(request), "number"))
        return RedirectResponse("/", 303)

    @router.post("/versions/promote")
    async def promote(request: Request, caller: Admin) -> Response:
        """Another version is to serve."""
        limits.request(caller)
        given, reason = await fields(request), by(caller, "from the page")
        await run_in_threadpool(service.releases.promote, given.get("model", ""), whole(given, "number"), reason)
        return RedirectResponse("/", 303)

    @router.post("/versions/shadow")
    async def shadow(request: Request, caller: Admin) -> Response:
        """A version is to answer unseen; number 0 ends it."""
        limits.request(caller)
        given, reason = await fields(request), by(caller, "from the page")
        number = whole(given, "number") or None
        await run_in_threadpool(service.releases.shadow, given.get("model", ""), number, reason)
        return RedirectResponse("/", 303)

    @router.post("/versions/canary")
    async def canary(request: Request, caller: Admin) -> Response:
        """A version is to answer some percent of the streams; number 0 ends it."""
        limits.request(caller)
        given, reason = await fields(request), by(caller, "from the page")
        number = whole(given, "number") or None
        share = whole(given, "percent") / 100 if number else 0.0
        await run_in_threadpool(service.releases.canary, given.get("model", ""), number, share, reason)
        return RedirectResponse("/", 303)

    @router.post("/versions/back")
    async def roll_back(request: Request, caller: Admin) -> Response:
        """The version before is to serve again."""
        limits.request(caller)
        given, reason = await fields(request), by(caller, "from the page")
        await run_in_threadpool(service.releases.back, given.get("model", ""), reason)
        return RedirectResponse("/", 303)

    return router


def html(page: str) -> HTMLResponse:
    """With the policy that the page itself states; the address goes nowhere but back here."""
    headers = {
        "content-security-policy": f"{policy(forms=True)}; frame-ancestors 'none'",
        "referrer-policy": "same-origin",
    }
    return HTMLResponse(page, headers=headers)


def back(owner: str, name: str) -> RedirectResponse:
    """To the stream's page, so that loading it again sends nothing twice."""
    return RedirectResponse(f"/page/streams/{quote(owner)}/{quote(name)}", 303)


async def fields(request: Request) -> dict[str, str]:
    """The fields of a form; DataError for what is none."""
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise DataError(f"This is no form ({error}). Send it from the page.") from error


def whole(given: dict[str, str], name: str) -> int:
    """A number of a form; DataError for what is none."""
    if not (text := given.get(name, "")).isascii() or not text.isdigit() or len(text) > 9:
        raise DataError(f"The field {name!r} is a whole number; got {text[:40]!r}. Send the form from the page.")
    return int(text)


def answers(given: dict[str, str], output: str = "label") -> list[Label]:
    """Of fields id-N and label-N, those with an answer; of outputs other than a class, answers are read as JSON.

    >>> answers({"id-0": "4", "label-0": "", "id-1": '"a"', "label-1": "acetone"})
    [Label(id='a', label='acetone', at_random=False)]
    >>> answers({"id-0": "4", "label-0": "3.2"}, "number")
    [Label(id=4, label=3.2, at_random=False)]
    """
    found = []
    for field, text in given.items():
        kind, _, number = field.partition("-")
        if kind == "label" and text.strip():
            try:
                known: Any = json.loads(given.get(f"id-{number}", ""))
            except ValueError as error:
                raise DataError(
                    f"The field {field!r} comes without the id of its row. Send the form from the page."
                ) from error
            if not isinstance(known, str | int | float):
                raise DataError(f"The id of {field!r} is a text or a number. Send the form from the page.")
            found.append(Label(known, text if output == "label" else read(text)))
    return found


def read(text: str) -> Any:
    """An answer that is no class: a number, or a list of them and of texts; DataError for what is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(
            f"{text[:80]!r} is no answer here: write a number with a point, such as 3.2, or several answers as a list, "
            'such as ["acetone", 3.2].'
        ) from error

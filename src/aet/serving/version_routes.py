"""Routes of the API for versions: look, promote, roll back, shadow, canary."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from aet.serving.forms import Form, Name, example
from aet.serving.guarding import need
from aet.serving.keys import Caller
from aet.serving.limits import Limits
from aet.serving.service import Service

Reads = Annotated[Caller, Depends(need("predict"))]
Number = Annotated[int, Field(ge=1, lt=10**9)]
Reason = Annotated[str, Field(max_length=300)]
Json = dict[str, Any]


class Promote(Form):
    """The version that is to serve, and why."""

    model_config = example(number=2, reason="better on May's labels")

    number: Number
    reason: Reason = ""


class Back(Form):
    """Why to go back."""

    model_config = example(reason="complaints from site 7")

    reason: Reason = ""


class Unseen(Form):
    """The version that is to answer unseen; null ends it."""

    model_config = example(number=2)

    number: Number | None
    reason: Reason = ""


class Canary(Form):
    """The version that is to answer a share of the streams; null ends it."""

    model_config = example(number=2, share=0.1)

    number: Number | None
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    reason: Reason = ""


def admin(act: str) -> Any:
    """Who may change what serves; `act` goes into the audit log."""
    return Depends(need("admin", act=act))


def by(caller: Caller, reason: str) -> str:
    """The reason as it is written into the registry.

    >>> by(Caller("1f2e", "admin", "acme"), "better in May")
    'better in May (key 1f2e)'
    """
    return f"{reason} (key {caller.key})".strip()


def version_routes(service: Service, limits: Limits) -> APIRouter:
    """The routes under /versions."""
    router, releases = APIRouter(prefix="/versions", tags=["versions"]), service.releases

    async def act(caller: Caller, what: Any, *given: Any) -> Json:
        limits.request(caller)
        found: Json = await run_in_threadpool(what, *given)
        return found

    @router.get("/{model}")
    async def versions(model: Name, caller: Reads) -> Json:
        """The versions of a model, who answers, and how the shadow does."""
        return await act(caller, releases.record, model)

    @router.post("/{model}/promote")
    async def promote(model: Name, form: Promote, caller: Annotated[Caller, admin("promote")]) -> Json:
        """Let a version serve. What began is finished by the version it began with."""
        return await act(caller, releases.promote, model, form.number, by(caller, form.reason))

    @router.post("/{model}/back")
    async def back(model: Name, caller: Annotated[Caller, admin("roll back")], form: Back | None = None) -> Json:
        """Let the version serve that served before; streams take up the states they had on it."""
        return await act(caller, releases.back, model, by(caller, form.reason if form else ""))

    @router.post("/{model}/shadow")
    async def shadow(model: Name, form: Unseen, caller: Annotated[Caller, admin("shadow")]) -> Json:
        """Let a version answer the same rows unseen."""
        return await act(caller, releases.shadow, model, form.number, by(caller, form.reason))

    @router.post("/{model}/canary")
    async def canary(model: Name, form: Canary, caller: Annotated[Caller, admin("canary")]) -> Json:
        """Let a version answer a share of the streams, each wholly in or out by a hash of its name."""
        return await act(caller, releases.canary, model, form.number, form.share, by(caller, form.reason))

    return router

"""Alarms: which are open, and that one was looked after; over HTTP as well."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from aet.serving.guarding import need
from aet.serving.keys import Caller, owner_of
from aet.serving.limits import Limits
from aet.serving.refusals import Unknown
from aet.serving.service import Service
from aet.serving.store import AlarmLine, StreamLine

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Alarm(BaseModel):
    """What a person should look at; `owner` and `stream` are null for one of the whole server."""

    number: int
    owner: str | None
    stream: str | None
    kind: str
    first: datetime
    last: datetime
    times: int
    text: str
    todo: str


def open_alarms(service: Service, owner: str | None) -> list[dict[str, Any]]:
    """Open alarms of the owner's streams, of all owners' and the server's own if it is None; the newest first."""
    lines = {line.number: line for line in service.store.streams(owner)}
    return [described(alarm, lines.get(alarm.stream or 0)) for alarm in service.store.alarms(owner)]


def close_alarm(service: Service, number: int) -> dict[str, Any]:
    """An alarm was looked after: it is closed, and its stream watched for it anew. Raises Unknown."""
    alarm = next((one for one in service.store.alarms() if one.number == number), None)
    if alarm is None:
        raise Unknown(f"There is no open alarm {number}. GET /alarms lists those that are.")
    line = next((line for line in service.store.streams() if line.number == alarm.stream), None)
    if service.watches is not None and line is not None and line.model in service.models:
        with service.residents.use(line.owner, line.name) as resident:
            service.watches.restart(resident, alarm.kind)
            service.residents.save(resident, f"the alarm {alarm.kind!r} was closed")
    service.store.close_alarm(number)
    return described(alarm, line)


def described(alarm: AlarmLine, line: StreamLine | None) -> dict[str, Any]:
    """An alarm as JSON knows it; `line` is its stream."""
    about = {"number": alarm.number, "owner": line.owner if line else None, "stream": line.name if line else None}
    when = {"first": alarm.first.isoformat(), "last": alarm.last.isoformat(), "times": alarm.times}
    return {**about, "kind": alarm.kind, **when, "text": alarm.text, "todo": alarm.todo}


def alarms(service: Service, limits: Limits) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["alarms"])

    @router.get("/alarms", response_model=list[Alarm])
    async def listed(
        caller: Annotated[Caller, Depends(need("predict"))],
        owner: Annotated[str | None, Query(max_length=64, description="Another's alarms, for an admin.")] = None,
    ) -> list[dict[str, Any]]:
        """Open alarms, the newest first: a key's own; all of the server for an admin who names no owner."""
        limits.request(caller)
        whose = None if owner is None and caller.may("admin") else owner_of(caller, owner)
        return await run_in_threadpool(open_alarms, service, whose)

    @router.post("/alarms/{number}/close", response_model=Alarm)
    async def close(number: Number, caller: Annotated[Caller, Depends(need("admin", act="close"))]) -> dict[str, Any]:
        """An alarm was looked after: it is closed, and its stream is watched for it anew."""
        limits.request(caller)
        return await run_in_threadpool(close_alarm, service, number)

    return router

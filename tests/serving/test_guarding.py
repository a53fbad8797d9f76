"""The door of the server, tried with an app behind it: who comes in, how much, how deep, how slowly."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from aet.errors import ConfigError
from aet.serving.bodies import STRANGER, Bodies, deeper_than
from aet.serving.database import connect, metadata
from aet.serving.guarding import Line, guarded, need
from aet.serving.headers import HEADERS, LOOPBACK
from aet.serving.keys import Caller, Forbidden, Keys, owner_of
from aet.serving.limits import Allowed, Exceeded, Limits, TooLarge


def refusing(status: int):
    """How an app answers a refusal of its own."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        after = {"Retry-After": str(error.seconds)} if isinstance(error, Exceeded) else {}
        return JSONResponse({"error": {"kind": type(error).__name__, "message": str(error)}}, status, after)

    return answer


class Door:
    """An app, three keys, and the lines that were written."""

    def __init__(self, folder, **limits: Any) -> None:
        engine = connect(folder / "store.db")
        metadata.create_all(engine)
        self.engine, self.keys, self.lines = engine, Keys(engine), []
        self.made = {role: self.keys.add(role, "site") for role in ("predict", "feedback", "admin")}
        self.app = FastAPI()
        for kind, status in ((Exceeded, 429), (TooLarge, 413), (Forbidden, 403)):
            self.app.add_exception_handler(kind, refusing(status))
        amounts = Limits(Allowed(burst_requests=30, requests=1, burst_rows=50))

        @self.app.post("/predict")
        async def predict(request: Request, caller: Annotated[Caller, Depends(need("predict"))]):
            rows = (await request.json())["rows"]
            amounts.request(caller, len(rows))
            return {"rows": len(rows), "key": caller.key}

        @self.app.post("/reset")
        async def reset(caller: Annotated[Caller, Depends(need("feedback", act="reset"))], owner: str | None = None):
            return {"owner": owner_of(caller, owner)}

        @self.app.get("/keys")
        async def listed(caller: Annotated[Caller, Depends(need("admin"))]):
            return {}

        @self.app.get("/open")
        async def opened():
            return {}

        self.client = TestClient(guarded(self.app, self.keys, audit=self.lines.append, **limits))

    def bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.made[role].secret}"}


@pytest.fixture
def door(tmp_path):
    door = Door(tmp_path)
    yield door
    door.engine.dispose()


def test_who_may_do_what(door):
    wanted = {"predict": [200, 403, 403], "feedback": [200, 200, 403], "admin": [200, 200, 200]}
    for role, statuses in wanted.items():
        head = door.bearer(role)
        got = [
            door.client.post("/predict", json={"rows": [1]}, headers=head).status_code,
            door.client.post("/reset", headers=head).status_code,
            door.client.get("/keys", headers=head).status_code,
        ]
        assert got == statuses


def test_without_a_good_key_nobody_comes_in(door):
    good = door.made["admin"].secret
    for head in ({}, {"Authorization": good}, {"Authorization": "Bearer " + good[:-1]}, {"Authorization": "Basic !!"}):
        answer = door.client.get("/keys", headers=head)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="aet"'
    twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
    assert door.client.get("/keys", headers=twice).status_code == 401
    assert door.client.get("/open").status_code == 200


def test_a_browser_is_asked_for_the_key_as_a_password(door):
    answer = door.client.get("/keys", headers={"Accept": "text/html,*/*"})
    assert answer.headers["www-authenticate"] == 'Basic realm="aet"'
    secret = base64.b64encode(f"anyone:{door.made['admin'].secret}".encode()).decode()
    assert door.client.get("/keys", headers={"Authorization": f"Basic {secret}"}).status_code == 200


def test_a_revoked_key_stops_at_once(door):
    head = door.bearer("admin")
    assert door.client.get("/keys", headers=head).status_code == 200
    door.keys.revoke(door.made["admin"].name)
    assert door.client.get("/keys", headers=head).status_code == 401


def test_a_key_that_is_not_known_is_told_from_none(door):
    door.keys.revoke(door.made["admin"].name)
    revoked, wrong = door.bearer("admin"), {"Authorization": "Bearer nonsense"}
    for head, says in (({}, "A key is needed"), (revoked, "not known, or was revoked"), (wrong, "not known")):
        answer = door.client.get("/keys", headers=head)
        assert answer.status_code == 401
        assert says in answer.text


def test_another_owner_takes_an_admin(door):
    assert door.client.post("/reset?owner=other", headers=door.bearer("feedback")).status_code == 403
    assert door.client.post("/reset?owner=other", headers=door.bearer("admin")).json() == {"owner": "other"}
    assert door.client.post("/reset", headers=door.bearer("feedback")).json() == {"owner": "site"}


def test_over_the_limits_is_429_with_a_time_and_413(door):
    head = door.bearer("predict")
    answers = [door.client.post("/predict", json={"rows": [0]}, headers=head) for _ in range(32)]
    late = [a for a in answers if a.status_code == 429]
    assert late
    assert int(late[0].headers["retry-after"]) >= 1
    other = door.bearer("admin")
    assert door.client.post("/predict", json={"rows": [0]}, headers=other).status_code == 200
    assert door.client.post("/predict", json={"rows": [0] * 51}, headers=other).status_code == 413


def test_the_store_of_the_keys_is_gone(door, monkeypatch):
    def gone(token: str) -> None:
        raise OperationalError("SELECT", {}, Exception("server closed"))

    monkeypatch.setattr(door.keys, "caller", gone)
    answer = door.client.get("/keys", headers=door.bearer("admin"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_answer_has_the_headers(door):
    for answer in (door.client.get("/open"), door.client.get("/nowhere"), door.client.post("/predict", content="x")):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "strict-transport-security" not in door.client.get("/open").headers


def test_cors_is_closed_unless_opened(door, tmp_path):
    asked = {"Origin": "https://dash.example.com", "Access-Control-Request-Method": "POST"}
    answer = door.client.options("/predict", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    (tmp_path / "2").mkdir()
    opened = Door(tmp_path / "2", origins=["https://dash.example.com"])
    answer = opened.client.options("/predict", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://dash.example.com"
    answer = opened.client.options("/predict", headers={**asked, "Origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in answer.headers
    opened.engine.dispose()
    for wrong in ("*", "dash.example.com", "https://dash.example.com/", "null"):
        with pytest.raises(ConfigError, match="An origin is"):
            guarded(door.app, door.keys, origins=[wrong])


def test_a_page_of_another_origin_changes_nothing(door):
    head = door.bearer("admin")
    for origin, status in (("https://evil.example.com", 403), ("null", 403), ("http://testserver", 200)):
        assert door.client.post("/reset", headers={**head, "Origin": origin}).status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 200) for name in ("127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1")),
        *((name, 421) for name in ("evil.example.com", "localhost.evil.example.com", "evil.example.com:127.0.0.1", "")),
    ],
)
def test_a_name_that_was_made_to_lead_here(door, host, status):
    client = TestClient(guarded(door.app, door.keys, hosts=LOOPBACK))
    head = {**door.bearer("admin"), "Host": host, "Origin": f"http://{host}"}
    assert client.post("/reset", headers=head).status_code == status


def test_audit_names_key_act_and_status_but_no_row(door):
    door.client.post("/reset?secret=rows", headers=door.bearer("feedback"))
    door.client.post("/reset", headers=door.bearer("predict"))
    door.client.post("/predict", json={"rows": ["row-content"]}, headers=door.bearer("predict"))
    door.client.get("/keys%0Aforged line", headers=door.bearer("predict"))
    door.client.get("/keys")
    names = {role: made.name for role, made in door.made.items()}
    assert door.lines == [
        Line(names["feedback"], "reset", "200 POST /reset"),
        Line(names["predict"], "reset", "403 POST /reset"),
        Line("-", "refused", "401 GET /keys"),
    ]


def test_a_flood_of_refusals_does_not_fill_the_audit_log(door):
    for _ in range(100):
        door.client.get("/keys")
    assert 60 <= len(door.lines) <= 63


def test_a_path_cannot_forge_a_line(door):
    door.client.get("/streams/a%0A%1B[2J-b" + "x" * 400, headers={})
    door.client.post("/reset%0A", headers={})
    assert all("\n" not in line.about and "\x1b" not in line.about and len(line.about) <= 300 for line in door.lines)


# --- bodies, at the level of ASGI -------------------------------------------------------------------------------------


class Sent:
    """What the app saw, and what came back."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.messages: list[dict[str, Any]] = []

    async def app(self, scope, receive, send):
        self.body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(self, message):
        self.messages.append(message)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]


def pieces_of(pieces, wait: float = 0.0, end: str = "http.request"):
    left = list(pieces)

    async def receive():
        if wait:
            await asyncio.sleep(wait)
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or end != "http.request"}
        return {"type": "http.disconnect"}

    return receive


def call(pieces, headers=(), known=True, wait=0.0, end="http.request", **limits) -> Sent:
    sent = Sent()
    bodies = Bodies(sent.app, **limits)
    state = {"caller": Caller("0a", "predict", "local") if known else None}
    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers), "state": state}
    asyncio.run(bodies(scope, pieces_of(pieces, wait, end), sent.send))
    assert bodies.held == 0
    return sent


def test_a_body_in_pieces_comes_whole():
    sent = call([b'{"a"', b"", b": 1}"])
    assert (sent.status, sent.body) == (200, b'{"a": 1}')


@pytest.mark.parametrize("headers", [[(b"content-length", b"101")], []])
def test_too_large_by_its_length_or_by_its_pieces(headers):
    sent = call([b"x" * 60, b"x" * 41, b"never read"], headers, most=100)
    assert (sent.status, sent.body) == (413, None)
    assert (b"connection", b"close") in sent.messages[0]["headers"]
    assert call([b"x" * 60, b"x" * 40], [(b"content-length", b"100")], most=100).status == 200


def test_without_a_key_little_is_read():
    big = b" " * (STRANGER + 1)
    assert call([big], known=False).status == 413
    assert call([big], known=True).status == 200


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"", b"0x10", "²".encode()])
def test_a_length_that_is_no_number(length):
    assert call([b"{}"], [(b"content-length", length)]).status == 400


def test_two_lengths_that_differ_and_a_huge_one():
    assert call([b"{}"], [(b"content-length", b"2"), (b"content-length", b"3")]).status == 400
    assert call([b"{}"], [(b"content-length", b"9" * 5000)]).status == 413


def test_a_body_that_trickles_in_is_stopped():
    sent = call([b"x"] * 50, wait=0.02, seconds=0.1)
    assert (sent.status, sent.body) == (408, None)


def test_a_client_that_goes_away_is_not_answered_and_the_app_not_called():
    sent = call([b'{"a"'], end="gone")
    assert (sent.messages, sent.body) == ([], None)


def test_many_large_bodies_at_once_are_put_off():
    async def both() -> list[int]:
        sent = [Sent(), Sent()]
        bodies = Bodies(sent[0].app, together=100)
        bodies.held = 50
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {"caller": "known"}}
        await bodies(scope, pieces_of([b"x" * 40]), sent[0].send)
        await bodies(scope, pieces_of([b"x" * 60]), sent[1].send)
        assert bodies.held == 50
        return [one.status for one in sent]

    assert asyncio.run(both()) == [200, 503]


def test_deep_json_is_refused_and_brackets_in_texts_are_not():
    assert call([b"[" * 33 + b"]" * 33]).status == 400
    assert call([b"[" * 32 + b"]" * 32]).status == 200
    assert call([b'{"a": "' + b"[" * 1000 + b'"}']).status == 200
    assert call([b'{"a": "\\"' + b"[" * 1000 + b'"}']).status == 200
    assert call([b'{"a": "\\\\"' + b"[" * 33]).status == 400
    assert call(["[1]".encode("utf-16")]).status == 400


def nesting(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(nesting, inner), default=0)


NESTED = st.recursive(
    st.one_of(st.none(), st.text(alphabet='[]{}"\\a\u5b22', max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(alphabet='{["\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=NESTED, ascii=st.booleans())
def test_depth_is_that_of_the_parsed_value(value, ascii):
    body = json.dumps(value, ensure_ascii=ascii).encode()
    depth = nesting(value)
    assert not deeper_than(body, depth)
    if depth:
        assert deeper_than(body, depth - 1)


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=200), depth=st.integers(0, 5))
def test_depth_of_any_bytes_is_an_answer(body, depth):
    assert deeper_than(body, depth) in (True, False)


def test_eight_megabytes_of_brackets_are_refused_in_bounded_memory():
    body = b'["\\"' * (2 << 20)
    tracemalloc.start()
    assert deeper_than(b"[" * (8 << 20), 32)
    deeper_than(body, 32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * len(body)

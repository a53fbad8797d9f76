"""What one client, one stream or another program does is no other's concern; nothing acknowledged is lost by it."""

from __future__ import annotations

import threading
import time

import pandas as pd
import pytest
from starlette.testclient import TestClient

import aet
from aet.errors import DataError, FeedbackError
from aet.personal import Masker
from aet.serving import app as app_module
from aet.serving.app import create_app, protected
from aet.serving.asks import Answers, Ask
from aet.serving.keys import Keys
from aet.serving.models import Served
from aet.serving.refusals import Unknown
from aet.serving.service import Service
from aet.serving.store import Label
from tests.made import quick
from tests.serving.conftest import rows_of


def test_a_stream_forgotten_by_another_program_harms_no_other(service, store):
    rows, truth = rows_of(8)
    for name in ("a", "b"):
        service.predict("local", name, rows)
    store.forget_stream(store.stream("local", "a").number)
    with pytest.raises(Unknown, match="forgotten just now"):
        service.predict("local", "a", rows)
    assert [row["id"] for row in service.predict("local", "a", rows).rows] == list(range(8))  # made anew
    store.forget_stream(store.stream("local", "a").number)
    service.feedback("local", "b", [Label(0, truth[0])]).result()
    service.saver.save()
    assert store.pending(store.stream("local", "b").number) == []


def test_a_save_that_is_overtaken_does_not_take_back_what_came_later(service, store, monkeypatch):
    rows, truth = rows_of(16)
    service.predict("local", "s", rows)
    service.feedback("local", "s", [Label(i, truth[i]) for i in range(8)]).result()
    kept, slow = store.keep_state, threading.Event()

    def keep_state(*given, **named):
        if not slow.is_set():
            slow.set()
            time.sleep(0.3)
        return kept(*given, **named)

    monkeypatch.setattr(store, "keep_state", keep_state)
    saver = threading.Thread(target=service.saver.save)
    saver.start()
    slow.wait()
    service.reset("local", "s")
    saver.join()
    again = Service(service.models, store)
    assert again.state("local", "s")["size"] == 0
    again.learner.stop()


@pytest.mark.parametrize(("wrong", "status"), [("x" * 1000, 422), ([1], 200), ({"a": 1}, 422)])
def test_a_row_that_cannot_be_read_fails_its_own_request_only(store, wrong, status):
    frame = pd.DataFrame({"name": [f"r{i}" for i in range(60)], "a": range(60), "y": ["p", "q"] * 30})
    model = aet.train(frame, target="y", id="name", config=quick(epochs=1))
    service = Service({"m": Served("m", "1", model)}, store)
    asks = [Ask(owner, owner, [{"name": known, "a": 1.0}]) for owner, known in (("bob", wrong), ("acme", "fine"))]
    with TestClient(protected(create_app(service), None)) as client:
        answers = [client.post("/predict", json={"stream": ask.stream, "rows": list(ask.rows)}) for ask in asks]
        assert [answer.status_code for answer in answers] == [status, 200]
        problems = [answer["problem"] for answer in answers[0].json().get("answers", ())]
        assert problems == (
            [] if status == 422 else ["row 1, column 'name': expected an id that is a text or a number, got [1]"]
        )
    bob, acme = service.answer(asks)
    assert isinstance(acme, Answers)
    assert isinstance(bob, Answers | DataError | FeedbackError)


def test_what_was_kept_aside_is_not_written_down_where_data_are_masked(model, store):
    service = Service({"gas": Served("gas", "1", model)}, store, mask=Masker())
    rows, _ = rows_of(2)
    found = service.predict("local", "s", [rows[0], {**rows[1], "a": "write to carla77@example.org"}])
    assert "carla77" in found.rows[1]["problem"]  # its sender may read it
    service.saver.save()
    service.learner.stop()
    state = store.state(store.stream("local", "s").number)
    kept = str(store.values(store.stream("local", "s").number, [0, 1])).encode() + state.content
    assert b"carla77" not in kept


def test_the_first_key_closes_a_server_that_was_open(service, monkeypatch):
    monkeypatch.setattr(app_module, "LIFE", 0.0)
    with TestClient(protected(create_app(service), None)) as client:
        assert client.get("/streams").status_code == 200
        made = Keys(service.store.engine).add("predict")
        assert client.get("/streams").status_code == 401
        assert client.get("/streams", headers={"Authorization": f"Bearer {made.secret}"}).status_code == 200


@pytest.mark.parametrize("settings", [{"seed": -1}, {"keep": 10**12}, {"keep": 1.5}, {"guard": "perhaps"}])
def test_settings_that_cannot_be_are_refused(client, settings):
    answer = client.post("/streams", json={"stream": "s", "settings": settings})
    assert answer.status_code == 422
    assert answer.json()["error"]["kind"] == "ConfigError"


def test_a_number_is_labelled_over_the_page_and_none_is_beyond_reason(store):
    frame = pd.DataFrame({"a": range(80), "y": [2.0 * i for i in range(80)]})
    service = Service({"m": Served("m", "1", aet.train(frame, target="y", config=quick(epochs=1)))}, store)
    with TestClient(protected(create_app(service), None)) as client:
        client.post("/predict", json={"stream": "s", "rows": [{"a": float(i)} for i in range(8)]})
        page = "/page/streams/local/s"
        assert client.post(f"{page}/labels", data={"id-0": "3", "label-0": "6.5"}).status_code == 200
        assert client.post(f"{page}/labels", data={"id-0": "4", "label-0": "a lot"}).status_code == 422
        again = client.post("/feedback", json={"stream": "s", "labels": [{"id": 3, "label": 6.5}]})
        assert again.status_code == 200
        for far in (1e30, 10**400):
            answer = client.post("/feedback", json={"stream": "s", "labels": [{"id": 5, "label": far}]})
            assert answer.status_code == 422

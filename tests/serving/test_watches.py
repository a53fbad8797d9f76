"""Streams under watch while they serve: one alarm for one drift, none for clean rows, and never in an answer's way."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from starlette.testclient import TestClient

from aet.client import Client
from aet.commands.alarming import PASSWORD, SECRET, channels
from aet.errors import ConfigError, StoreError
from aet.monitoring.channels import Webhook
from aet.monitoring.watching import Watch
from aet.serving.alarming import close_alarm, open_alarms
from aet.serving.app import create_app, protected
from aet.serving.keys import Keys
from aet.serving.lots import MOST
from aet.serving.store import Label
from aet.serving.watches import Watches
from tests.serving.conftest import rows_of

DRIFT = {"shift": 6.0}


@pytest.fixture
def make_watched(make_service, store):
    made = []

    def make(channels=(), **settings):
        made.append(Watches(store, channels, **settings))
        return make_service(watches=made[-1], settings={"adapt": "restandardise"})

    yield make
    for watches in made:
        watches.stop()


@pytest.fixture
def watched(make_watched):
    return make_watched()


@pytest.fixture
def hook():
    """A webhook's URL on this machine, and what it received."""
    received = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    thread.join()
    server.server_close()


def shown(service, stream="s", count=200, seed=1, **drift):
    """Rows of a stream, shown to its watch; their true classes."""
    rows, truth = rows_of(count, seed, **drift)
    for start in range(0, count, 100):
        service.predict("local", stream, rows[start : start + 100])
        service.watches.settle()
    return truth


def kinds(service):
    return sorted(alarm["kind"] for alarm in open_alarms(service, "local"))


def test_clean_rows_raise_none_and_all_of_them_are_seen(watched):
    for seed in range(4):
        shown(watched, f"site-{seed}", 300, seed=seed + 10)
    assert kinds(watched) == []
    report = watched.drift("local", "site-0")
    assert report["watch"]["rows"] == 300
    assert report["watch"]["left_out"] == report["watch"]["waiting"] == 0
    assert report["watch"]["problem"] is None
    assert report["advice"]["act"] == "hold"


def test_a_drift_raises_one_alarm_however_many_rows_come_and_closing_watches_anew(make_watched, hook):
    url, received = hook
    service = make_watched([Webhook(url)])
    shown(service, count=300)
    shown(service, count=400, seed=2, **DRIFT)
    first = [alarm for alarm in open_alarms(service, "local") if alarm["kind"] == "input"]
    assert len(first) == 1
    assert first[0]["times"] == 1
    assert "column" in first[0]["text"]
    assert first[0]["todo"].startswith("Look at the columns")

    report = service.drift("local", "s")
    signal = next(one for one in report["watch"]["signals"] if one["kind"] == "input")
    assert 200 < signal["since"] <= signal["row"] < 500
    assert signal["evidence"] > signal["needed"]
    evidence = [one["evidence"] for one in report["watch"]["groups"]["columns"]["series"]]
    assert evidence == sorted(evidence, reverse=True)
    assert report["advice"]["act"] in ("hold", "adapt")
    assert "input" in report["advice"]["why"]

    close_alarm(service, first[0]["number"])
    assert "input" not in kinds(service)
    shown(service, count=200, seed=3, **DRIFT)
    again = [alarm for alarm in open_alarms(service, "local") if alarm["kind"] == "input"]
    assert len(again) == 1
    assert again[0]["number"] > first[0]["number"]

    service.watches.stop()  # sends what waits
    sent = [(one["kind"], one["number"]) for one in received]
    assert len(sent) == len(set(sent))
    assert [number for kind, number in sent if kind == "input"] == [first[0]["number"], again[0]["number"]]
    assert received[0]["stream"] == "s"
    assert received[0]["owner"] == "local"
    assert received[0]["runbook"]


def test_a_restart_keeps_the_evidence_and_the_rate(make_watched, store):
    first = make_watched()
    shown(first, count=150)
    shown(first, count=100, seed=2, **DRIFT)
    assert "input" in kinds(first)
    before = first.drift("local", "s")["watch"]
    first.learner.stop()
    first.watches.stop()
    first.saver.save("end")

    second = make_watched()
    after = second.drift("local", "s")["watch"]
    assert after == before
    shown(second, count=100, seed=3, **DRIFT)
    assert [alarm["times"] for alarm in open_alarms(second, "local")] == [1] * len(kinds(second))
    assert second.drift("local", "s")["watch"]["rows"] == 350


def test_what_only_the_saver_saw_between_two_restarts_stays_too(make_watched):
    first = make_watched()
    shown(first, count=120)
    first.saver.save()
    second = make_watched()
    rows, _ = rows_of(3, 5)
    answers = second.predict("local", "s", rows[:1])
    second.saver.save()  # before any lot of its own was looked at
    third = make_watched()
    assert third.drift("local", "s")["watch"]["rows"] >= 120
    assert answers.rows[0]["id"] == 120


def test_late_labels_are_shown_as_errors_of_the_source(watched):
    truth = shown(watched, count=300)
    ids = watched.ask("local", "s", 64, 300)
    watched.feedback("local", "s", [Label(i, truth[i]) for i in ids]).result()
    watched.watches.settle()
    assert 20 < watched.drift("local", "s")["watch"]["labels"] <= 64
    ids = watched.ask("local", "s", 128, 300)
    wrong = {"p": "q", "q": "r", "r": "p"}
    watched.feedback("local", "s", [Label(i, wrong[truth[i]]) for i in ids]).result()
    watched.watches.settle()
    assert "error" in kinds(watched)
    report = watched.drift("local", "s")
    assert report["advice"]["rests_on"]["signals"] == ["error"]
    assert report["advice"]["act"] != "hold"
    # labels that nobody asked for are no evidence
    seen = report["watch"]["labels"]
    left = [i for i in range(300) if i in watched.residents.all()[0].stream.kept.place]
    watched.feedback("local", "s", [Label(i, truth[i]) for i in left[:20]]).result()
    watched.watches.settle()
    assert watched.drift("local", "s")["watch"]["labels"] == seen


def test_a_fault_of_ours_breaks_no_answer_and_is_said_once(watched, monkeypatch, caplog):
    shown(watched, count=100)
    watched.saver.save()

    def broken(self, *_, **__):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(Watch, "see", broken)
    with caplog.at_level(logging.ERROR, "aet.serving.watches"):
        shown(watched, count=200, seed=2)
        shown(watched, "other", count=10, seed=2)
    assert [record.message for record in caplog.records] == ["The watch of a stream broke off; its answers go on."] * 2
    monkeypatch.undo()
    assert shown(watched, count=100, seed=3)
    report = watched.drift("local", "s")["watch"]
    assert "ZeroDivisionError: ours" in report["problem"]
    assert (report["rows"], report["left_out"]) == (100, 300)


def test_an_alarm_that_could_not_be_written_down_is_said_later(make_watched, store, monkeypatch):
    first = make_watched()
    shown(first, count=120)

    def full(*_):
        raise StoreError("no room left")

    monkeypatch.setattr(store, "alarm", full)
    shown(first, count=120, seed=2, **DRIFT)
    assert kinds(first) == []
    first.saver.save()
    monkeypatch.undo()
    second = make_watched()
    shown(second, count=1, seed=3)
    assert "input" in kinds(second)


def test_a_damaged_watch_gives_way_to_a_new_one(make_watched, store, monkeypatch):
    first = make_watched()
    shown(first, count=50)
    monkeypatch.setattr("aet.serving.watches.save", lambda arrays: b"damaged")
    first.saver.save()
    monkeypatch.undo()
    second = make_watched()
    assert second.drift("local", "s")["watch"]["rows"] == 0
    assert second.describe("local", "s")["rows"] == 50


def test_more_rows_than_may_wait_are_counted(make_watched):
    service = make_watched(wait=1000.0, share=1.0)
    release, looked = threading.Event(), service.watches.lots.look
    service.watches.lots.look = lambda lot: (release.wait(30), looked(lot))
    for _ in range(3):
        service.predict("local", "s", rows_of(200, 1)[0])  # answered, though the first lot is held up
    service.predict("local", "s", rows_of(200, 1, **DRIFT)[0])
    left = service.drift("local", "s")["watch"]["left_out"]
    assert left >= 800 - 200 - MOST
    release.set()
    service.watches.settle()
    report = service.drift("local", "s")["watch"]
    assert report["rows"] + report["left_out"] == 800
    assert "input" in kinds(service)  # the newest rows are those that are looked at
    assert service.watches.lots._size == 0


def test_without_a_watch_the_rest_stays(service):
    service.predict("local", "s", rows_of(5)[0])
    report = service.drift("local", "s")
    assert report["watch"] is None
    assert report["advice"]["act"] == "hold"


def test_alarms_over_http_are_an_owners_own_and_an_admins_to_close(watched, store):
    keys = Keys(store.engine)
    ada, bo, admin = keys.add("feedback", owner="ada"), keys.add("predict", owner="bo"), keys.add("admin", owner="ops")
    number = store.stream("ada", "site", model="gas", settings={}).number
    store.alarm(number, "input", "Input drift: ...", "Look.")
    with TestClient(protected(create_app(watched), keys)) as client:

        def call(key, method, path):
            return client.request(method, path, headers={"Authorization": f"Bearer {key.secret}"})

        (found,) = call(ada, "GET", "/alarms").json()
        assert (found["owner"], found["stream"], found["kind"]) == ("ada", "site", "input")
        assert call(bo, "GET", "/alarms").json() == []
        assert call(bo, "GET", "/alarms?owner=ada").status_code == 403
        assert [one["number"] for one in call(admin, "GET", "/alarms").json()] == [found["number"]]
        assert "aet_alarms_open 1.0" in call(admin, "GET", "/metrics").text
        close = f"/alarms/{found['number']}/close"
        assert call(ada, "POST", close).status_code == 403
        assert call(admin, "POST", close).json()["number"] == found["number"]
        assert call(admin, "POST", close).json()["error"]["kind"] == "Unknown"
        assert "aet_alarms_open 0.0" in call(admin, "GET", "/metrics").text
        store.alarm(None, "disk", "Nearly full.", "Make room.")
        typed = Client("http://testserver", key=admin.secret, http=client)
        (own,) = typed.alarms()
        assert (own["owner"], own["stream"]) == (None, None)
        assert typed.close_alarm(own["number"])["kind"] == "disk"


def test_the_page_says_what_to_do_above_the_rows_to_label(watched):
    shown(watched, "site-7", 150)
    shown(watched, "site-7", 150, seed=2, **DRIFT)
    with TestClient(protected(create_app(watched), None)) as client:
        page = client.get("/page/streams/local/site-7").text
        assert page.index("What to do") < page.index("Rows worth a label")
        assert "Input drift: column" in page
        number = client.get("/alarms").json()[0]["number"]
        client.post("/alarms/close", data={"number": str(number)})
        assert number not in [one["number"] for one in client.get("/alarms").json()]


def test_a_stopped_service_saves_what_was_still_to_be_seen(make_watched):
    service = make_watched(wait=1000.0)
    service.start()
    service.predict("local", "s", rows_of(20, 1)[0])
    service.stop()
    assert make_watched().drift("local", "s")["watch"]["rows"] == 20


def test_secrets_of_channels_come_from_the_environment_alone(monkeypatch):
    mail = (["ops@example.com"], "aet@example.com", "mail.example.com:2525")
    monkeypatch.setenv(SECRET, "hidden-1")
    monkeypatch.setenv(PASSWORD, "hidden-2")
    log, hook, sent = channels(["https://hooks.example.com/T0/x"], *mail)
    assert (hook._secret, sent._password, sent._user, sent.port) == ("hidden-1", "hidden-2", "aet@example.com", 2525)
    assert "hidden" not in repr([log, hook, sent])
    monkeypatch.delenv(PASSWORD)
    assert channels([], *mail)[1]._user is None
    for half in ([], "a@b.c", None), (["a@b.c"], None, "h"), (["a@b.c"], "a@b.c", "h:x"):
        with pytest.raises(ConfigError, match="mail"):
            channels([], *half)

"""Alarms: one open at a time, sent without waiting, tried again, and no secret in any line."""

import hashlib
import hmac
import http.server
import json
import logging
import socketserver
import threading
import time
from contextlib import contextmanager

import pytest

from aet.errors import ConfigError
from aet.monitoring.alarms import RUNBOOK, Alarms
from aet.monitoring.channels import Email, Log, NotSent, Webhook
from aet.monitoring.delivery import Outbox
from aet.monitoring.watching import KINDS, Signal

ALARM = {
    "stream": "site\r\nBcc: all@example.com",
    "kind": "input",
    "row": 7,
    "opened": "2026-01-01T00:00:00+00:00",
    "text": "Input drift.\nFORGED line",
    "runbook": "Look.",
}


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    """Loopback is never behind a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def signal(kind="input", level=0.01):
    return Signal(kind, 120, 5e4, 1e3, level, 90, ("age",), f"{kind} drift")


class Kept:
    """A channel that keeps what it is given, after failing some times."""

    def __init__(self, failures=0, again=True):
        self.alarms, self.failures, self.again, self.tries = [], failures, again, 0

    def send(self, alarm):
        self.tries += 1
        if self.tries <= self.failures:
            raise NotSent("not yet", self.again)
        self.alarms.append(alarm)


@contextmanager
def served(handler):
    """A loopback server of a thread; gives it and its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def hook(codes, taken):
    """A handler that answers with each of the codes in turn, and notes path, headers and body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, dict(self.headers), body))
            code = codes.pop(0) if codes else 200
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_):
            pass

    return Handler


def test_one_alarm_a_stream_and_kind_until_it_is_closed():
    kept = Kept()
    alarms = Alarms([kept])
    assert [a.kind for a in alarms.take("one", [signal(), signal("error")])] == ["input", "error"]
    assert alarms.take("one", [signal()]) == []
    assert len(alarms.take("two", [signal()])) == 1
    assert [a.stream for a in alarms.open()] == ["two", "one", "one"]
    assert alarms.close("one", "input").times == 2
    assert alarms.close("one", "input") is None
    assert len(alarms.take("one", [signal()])) == 1
    alarms.forget("one")
    assert [a.stream for a in alarms.open()] == ["two"]
    assert alarms.stop()
    assert [(a["stream"], a["kind"]) for a in kept.alarms] == [
        ("one", "input"),
        ("one", "error"),
        ("two", "input"),
        ("one", "input"),
    ]
    assert all(a["runbook"] == RUNBOOK[a["kind"]] for a in kept.alarms)


def test_an_alarm_that_was_quiet_is_over():
    now = [1000.0]
    alarms = Alarms([], quiet=60, clock=lambda: now[0])
    assert alarms.take("s", [signal()])
    now[0] += 50
    assert not alarms.take("s", [signal()])
    now[0] += 50
    assert alarms.open()
    assert not alarms.take("s", [signal()])
    now[0] += 61
    assert not alarms.open()
    assert alarms.take("s", [signal()])
    now[0] -= 10_000  # the clock was set back
    assert not alarms.take("s", [signal()])


def test_open_alarms_are_remembered():
    one, other = Alarms([]), Alarms([])
    one.take("s", [signal("error", None), Signal("input", 1, float("nan"), 1.0, None, 0, (), "")])
    other.load_dict(json.loads(json.dumps(one.to_dict())))
    assert [(a.kind, a.level, a.opened) for a in other.open()] == [(a.kind, a.level, a.opened) for a in one.open()]
    assert not other.take("s", [signal("error")])


def test_every_kind_has_a_runbook_line():
    assert set(RUNBOOK) == set(KINDS)
    assert not any("\n" in line for line in RUNBOOK.values())


def test_a_webhook_posts_json_with_a_signature_and_tries_again():
    taken, codes = [], [503, 429]
    with served(hook(codes, taken)) as (_, port):
        channel = Webhook(f"http://127.0.0.1:{port}/hook?token=hidden", secret="key", headers={"Authorization": "x"})
        alarms = Alarms([channel], wait=0.01)
        alarms.take("site", [signal()])
        assert alarms.stop()
    assert len(taken) == 3
    path, headers, body = taken[-1]
    assert path == "/hook?token=hidden"
    assert headers["Authorization"] == "x"
    assert headers["X-Aet-Signature"] == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert json.loads(body)["text"] == "input drift"
    assert alarms.delivery.status()[0]["sent"] == 1


@pytest.mark.parametrize("code", [302, 401, 404])
def test_a_refusal_is_not_repeated_and_no_redirect_followed(code, caplog):
    taken = []
    with served(hook([code], taken)) as (_, port):
        outbox = Outbox(Webhook(f"http://127.0.0.1:{port}/hook?token=hidden", secret="key"), wait=0.01)
        with caplog.at_level(logging.DEBUG):
            outbox.push(ALARM)
            assert outbox.close()
    assert [path for path, *_ in taken] == ["/hook?token=hidden"]
    status = outbox.status()
    assert (status["failed"], status["sent"]) == (1, 0)
    assert str(code) in status["problem"]
    assert "hidden" not in caplog.text + str(status)
    assert "key" not in caplog.text + str(status)


def test_a_server_that_is_gone_or_hangs_is_named_without_its_secrets():
    class Hangs(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(10)
            time.sleep(0.4)

    with served(Hangs) as (_, port):
        started = time.monotonic()
        with pytest.raises(NotSent, match=rf"127\.0\.0\.1:{port} was not reached") as caught:
            Webhook(f"http://127.0.0.1:{port}/hidden", timeout=0.1).send(ALARM)
        assert time.monotonic() - started < 0.35
    assert "hidden" not in str(caught.value)
    assert caught.value.again
    with pytest.raises(NotSent, match="was not reached"):
        Webhook(f"http://127.0.0.1:{port}/hidden", timeout=0.2).send(ALARM)


def test_a_mail_goes_out_and_a_stream_cannot_forge_headers():
    mails = []

    class Sink(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 sink\r\n")
            while line := self.rfile.readline():
                word = line.split()[0].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    data = []
                    while (line := self.rfile.readline()) != b".\r\n":
                        data.append(line)
                    mails.append(b"".join(data).decode())
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    with served(Sink) as (_, port):
        Email("127.0.0.1", "aet@example.com", ["ops@example.com"], port=port, tls="none").send(ALARM)
    head, _, body = mails[0].partition("\r\n\r\n")
    assert "To: ops@example.com" in head
    assert "\nBcc:" not in head
    assert "Look." in body
    assert "Input drift. FORGED line" in body


def test_a_mail_server_that_refuses_is_named():
    class Full(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"554 no\r\n")

    with served(Full) as (_, port), pytest.raises(NotSent, match="answered 554") as caught:
        Email("127.0.0.1", "a@b.c", ["d@e.f"], port=port, tls="none").send(ALARM)
    assert not caught.value.again
    with pytest.raises(NotSent, match="took no mail"):
        Email("127.0.0.1", "a@b.c", ["d@e.f"], port=port, timeout=0.2).send(ALARM)


def test_the_log_has_one_line_an_alarm(caplog):
    with caplog.at_level(logging.WARNING, "aet.alarms"):
        Log().send(ALARM)
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]
    assert "Input drift. FORGED line" in caplog.messages[0]


def test_a_slow_channel_stops_nobody_and_the_box_is_bounded():
    gate, taken = threading.Event(), []

    class Slow:
        def send(self, alarm):
            gate.wait(5)
            taken.append(alarm["n"])

    outbox = Outbox(Slow(), size=3)
    started = time.monotonic()
    for n in range(50):
        outbox.push({"n": n})
    assert time.monotonic() - started < 0.5
    gate.set()
    assert outbox.close()
    assert taken[-3:] == [47, 48, 49]
    assert outbox.sent + outbox.dropped == 50
    assert outbox.dropped >= 46
    outbox.push({"n": 51})
    assert outbox.sent + outbox.dropped == 51


def test_it_gives_up_after_some_tries_and_says_so(caplog):
    outbox = Outbox(Kept(failures=99), tries=3, wait=0.001)
    outbox.push(ALARM)
    assert outbox.close()
    assert (outbox.channel.tries, outbox.failed) == (3, 1)
    assert "An alarm did not go out: not yet" in caplog.text


def test_closing_does_not_wait_for_tries_to_come():
    outbox = Outbox(Kept(failures=99), tries=9, wait=30)
    outbox.push(ALARM)
    outbox.push(ALARM)
    started = time.monotonic()
    assert not outbox.close(0.05)
    assert time.monotonic() - started < 1
    assert outbox.dropped == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_channel_that_breaks_is_counted_and_the_next_alarm_goes_out():
    class Breaks(Kept):
        def send(self, alarm):
            super().send(alarm)
            if len(self.alarms) == 1:
                raise RuntimeError("a bug of the channel")

    outbox = Outbox(Breaks())
    outbox.push({"text": "one"})
    outbox._thread.join(2)
    outbox.push({"text": "two"})
    assert outbox.close()
    assert (outbox.sent, outbox.failed) == (1, 1)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Webhook("ftp://example.com/x"),
        lambda: Webhook("file:///etc/passwd"),
        lambda: Webhook("https:///path"),
        lambda: Webhook("https://me:secret@example.com/"),
        lambda: Webhook("http://[bad/"),
        lambda: Email("h", "a@b.c", []),
        lambda: Email("h", "a@b.c", "d@e.f"),
        lambda: Email("h", "a@b.c\nBcc: x@y.z", ["d@e.f"]),
        lambda: Email("h", "a@b.c", ["d@e.f"], user="u", password="secret", tls="none"),
        lambda: Email("h", "a@b.c", ["d@e.f"], tls="ssl3"),
        lambda: Outbox(Kept(), size=0),
        lambda: Alarms([], quiet=-1),
        lambda: Alarms([]).close("s", "drift"),
    ],
)
def test_wrong_settings_are_refused_and_secrets_not_repeated(made):
    with pytest.raises(ConfigError) as caught:
        made()
    assert "secret" not in str(caught.value)

"""A real server in a process of its own: started, killed in the middle, started again, and ended in order."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from aet.cli import app
from aet.client import Client
from aet.serving.app import create_app, protected
from aet.serving.patience import HEAD, Patience, PatientH11, patient_llhttp
from aet.serving.server import bound, server_of
from tests.serving.conftest import rows_of

READY = 60.0
"""Seconds within which a busy machine has a server up."""


@pytest.fixture
def start(model, tmp_path):
    run = model.save(tmp_path / "gas")
    running = []

    def begin(*options):
        command = [sys.executable, "-m", "aet", "serve", str(run), "--port", "0", "--json", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return process, json.loads(line)

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_a_killed_server_has_lost_no_label_and_a_stopped_one_nothing(start):
    rows, truth = rows_of(12, shift=1.0)
    process, said = start()
    assert said["models"] == ["gas"]
    assert not said["keys"]
    assert said["seconds"] < READY
    with Client(said["url"]) as client:
        ids = client.predict(rows, stream="site-7")["id"].tolist()
        client.feedback(ids[:6], truth[:6], stream="site-7")
    process.send_signal(signal.SIGKILL)
    process.communicate()

    process, said = start()
    with Client(said["url"]) as client:
        for _ in range(100):
            stream = client.stream("site-7")
            if stream["labels"] == 6:
                break
            time.sleep(0.1)
        assert (stream["rows"], stream["labels"]) == (12, 6)
        assert stream["state"]["size"] > 0
        assert client.predict(rows[:1], stream="site-7")["id"].tolist() == [12]
        client.feedback([12], truth[:1], stream="site-7")
        before = client.stream("site-7")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=READY)
    assert process.returncode == 0
    assert "finished" in told

    process, said = start()
    with Client(said["url"]) as client:
        stream = client.stream("site-7")
        assert (stream["rows"], stream["labels"], stream["waiting"]) == (13, 7, 0)
        assert stream["asked"] == before["asked"]


def test_without_keys_nobody_else_is_let_in(model, tmp_path):
    run = model.save(tmp_path / "gas")
    done = CliRunner().invoke(app, ["serve", str(run), "--host", "0.0.0.0", "--json"])
    assert done.exit_code == 2
    assert "aet keys add" in json.loads(done.stdout)["error"]["message"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(app, ["serve", str(run), "--port", port, "--json"])
    assert done.exit_code == 2
    assert "--port" in json.loads(done.stdout)["error"]["message"]


def protocols():
    """uvicorn's two ways to read HTTP/1.1."""
    lacks = importlib.util.find_spec("httptools") is None
    return ["h11", pytest.param("llhttp", marks=pytest.mark.skipif(lacks, reason="httptools is not installed"))]


@pytest.mark.parametrize("reader", protocols())
def test_clients_that_hang_are_let_go(monkeypatch, service, reader):
    """The head of a request comes in time and is not too long, or its connection is closed; others are answered."""
    monkeypatch.setattr(Patience, "seconds", 0.5)
    monkeypatch.setattr("aet.serving.server.protocol", patient_llhttp if reader == "llhttp" else lambda: PatientH11)
    at, listening = bound("127.0.0.1", 0), threading.Event()
    server = server_of(protected(create_app(service), None, seconds=0.5), listening.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
    thread.start()
    assert listening.wait(READY)
    silent, half, long = (socket.create_connection(at.getsockname(), timeout=10) for _ in range(3))
    long.sendall(b"GET / HTTP/1.1\r\n")
    time.sleep(0.1)
    long.sendall(b"x: " + b"y" * 2 * HEAD)
    assert long.recv(12) == b"HTTP/1.1 400"
    half.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    with Client(f"http://127.0.0.1:{at.getsockname()[1]}") as other:
        assert len(other.predict(rows_of(2)[0])) == 2
    assert silent.recv(100) == b""
    assert half.recv(100).startswith(b"HTTP/1.1 408")
    for one in (silent, half, long):
        one.close()
    server.should_exit = True
    thread.join(READY)
    assert not thread.is_alive()
    at.close()

"""Servers that share a PostgreSQL database agree: a stream is with one at a time, and is what one alone would be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from aet.errors import StoreError
from aet.serving.app import create_app, protected
from aet.serving.database import leases
from aet.serving.leases import alone
from aet.serving.models import Served, load_models
from aet.serving.opened import Lost
from aet.serving.refusals import Elsewhere
from aet.serving.service import Service
from aet.serving.store import Label, Store
from aet.serving.watches import Watches
from tests.serving.conftest import rows_of

from .conftest import schema_of

SERVED = {"guard": "always", "unlabelled": "always"}
"""The state answers, so that a wrong one would be seen."""
SLOW = 60.0


@pytest.fixture
def shared(postgres):
    return schema_of(postgres)


@pytest.fixture
def server(model):
    """Servers on stores by URL."""
    made = []

    def make(url, watch=False, start=True, **settings):
        store = Store(url)
        watches = Watches(store, wait=0.01, share=1.0) if watch else None
        one = Service({"gas": Served("gas", "1", model)}, store, SERVED | settings, save_every=3600, watches=watches)
        made.append(one.start() if start else one)
        return one

    yield make
    for one in made:
        one.saver.stop()
        one.learner.stop()
        if one.residents.leases is not None:
            one.residents.leases.stop()
        one.store.close()


def taught(service, seed, count=10, drift=1.0):
    """Rows and then their labels, learned; the answers."""
    rows, truth = rows_of(count, seed, shift=drift)
    answers = service.predict("acme", "site", rows)
    labels = [Label(row["id"], true, True) for row, true in zip(answers.rows, truth, strict=True)]
    service.feedback("acme", "site", labels).result(SLOW)
    return answers.rows


def test_what_goes_through_two_servers_is_what_goes_through_one(server, shared, tmp_path):
    one, a, b = server(str(tmp_path / "alone.db")), server(shared), server(shared)
    for turn in range(4):
        alone_, together = taught(one, turn), taught((a, b)[turn % 2], turn)
        assert together == alone_, f"turn {turn}"
    here, there = one.describe("acme", "site"), b.describe("acme", "site")
    own = {"made": "", "waiting": 0, "undoable": 0}  # how much is saved, and undone since it was opened
    assert {**here, **own} == {**there, **own}
    assert here["labels"] == 40
    assert one.state("acme", "site") == b.state("acme", "site")
    assert one.state("acme", "site")["size"] != 0
    assert [row["id"] for row in taught(a, 9)] == list(range(40, 50)), "ids go on"


def test_labels_through_both_at_once_lose_none_and_count_once(server, shared):
    a, b = server(shared, watch=True), server(shared, watch=True)
    wrong, ids, turns, size = [], [], 3, 4
    lock = threading.Lock()

    def work(service, seed):
        try:
            for turn in range(turns):
                answers = taught(service, 10 * seed + turn, size)
                with lock:
                    ids.extend(row["id"] for row in answers)
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=work, args=(service, seed)) for seed, service in enumerate((a, b, a, b))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SLOW)
    assert not wrong
    assert sorted(ids) == list(range(4 * turns * size)), "no id was given twice"
    found = a.describe("acme", "site")
    assert found["rows"] == found["labels"] == 4 * turns * size
    assert found["guard"] == b.describe("acme", "site")["guard"]
    a.residents.save(*b_or_a(a, b), "test")
    number = a.store.stream("acme", "site").number
    assert a.store.pending(number) == []
    assert a.residents.leases.given + b.residents.leases.given >= 2


def b_or_a(*services):
    return [one for service in services for one in service.residents.all()][:1]


def test_a_stream_that_is_elsewhere_holds_up_no_other(server, shared, monkeypatch):
    """Over HTTP, in one batch: the stream that has to come, and one that is here."""
    a, b = server(shared), server(shared, start=False)
    rows, _ = rows_of(2)
    a.predict("local", "far", rows)
    resident = a.residents.all()[0]
    resident.take()  # somebody at A is not done with it
    with TestClient(protected(create_app(b), None)) as client:
        done = []

        def ask():
            done.append(client.post("/predict", json={"stream": "far", "rows": rows}).json())

        far = threading.Thread(target=ask)
        far.start()
        near = client.post("/predict", json={"stream": "near", "rows": rows})
        assert near.status_code == 200
        assert not done
        with pytest.raises(Elsewhere), b.residents.use("local", "far", patient=False):
            pass
        resident.free()
        far.join(SLOW)
        assert [row["id"] for row in done[0]["answers"]] == [2, 3]
    assert a.residents.all() == []


def test_labels_that_one_took_and_did_not_learn_are_learned_by_the_next(server, shared):
    """A dies between the acknowledgement and the next save."""
    a = server(shared)
    taught(a, 0)
    a.saver.save()
    taught(a, 1)
    number = a.store.stream("acme", "site").number
    assert len(a.store.pending(number)) == 10
    with a.store.engine.connect() as connection:  # its session ends with it; it takes no other up
        a.residents.leases._stopped.set()
        connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {held(a)}"))
    b = server(shared)
    b.learner.wait()
    assert b.describe("acme", "site")["labels"] == 20
    with pytest.raises(Lost):
        a.store.keep_state(number, b"stale", "late", holder=a.residents.leases.number)
    a.residents.all()[0].moved = True
    a.saver.save()
    assert a.residents.all() == [], "what it had is another's, and leaves its memory"


def held(service):
    number = service.residents.leases.number
    return f"locktype = 'advisory' AND classid = {number >> 32} AND objid = {number & 0xFFFFFFFF}"


def test_a_server_that_lost_its_session_keeps_what_nobody_took(server, shared):
    a = server(shared)
    taught(a, 0)
    before, number = a.residents.leases.number, a.store.stream("acme", "site").number
    with a.store.engine.connect() as connection:
        connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {held(a)}"))
    for _ in range(500):
        if a.residents.leases.number != before:
            break
        time.sleep(0.01)
    assert a.residents.leases.here(number)
    with a.store.reading() as connection:
        assert connection.scalar(sa.select(leases.c.holder)) == a.residents.leases.number
    a.saver.save()
    assert [row["id"] for row in taught(a, 1)] == list(range(10, 20))


def test_a_stream_put_aside_or_forgotten_is_free(server, shared):
    a, b = server(shared), server(shared)
    taught(a, 0)
    a.residents.most = 0
    a.predict("acme", "other", rows_of(1)[0])
    with a.store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(leases)) == 1
    assert taught(b, 1)[0]["id"] == 10
    b.forget("acme", "site")
    assert taught(a, 2)[0]["id"] == 0


def test_the_holder_that_was_killed_holds_nothing(server, shared, model, tmp_path):
    """A real process, killed; the labels that it acknowledged are learned by the other."""
    run = model.save(tmp_path / "gas")
    command = [sys.executable, "-m", "aet", "serve", str(run), "--port", "0", "--store", shared, "--guard", "always"]
    process = subprocess.Popen(
        [*command, "--json", "--save-every", "3600"], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        import httpx

        url = json.loads(process.stdout.readline())["url"]
        rows, truth = rows_of(20, 0, shift=1.0)
        answers = httpx.post(f"{url}/predict", json={"stream": "site", "rows": rows}, timeout=30).json()["answers"]
        labels = [{"id": row["id"], "label": true} for row, true in zip(answers, truth, strict=True)]
        said = httpx.post(f"{url}/feedback", json={"stream": "site", "labels": labels}, timeout=30)
        assert said.json()["kept"] == 20
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    store = Store(shared)
    other = Service(load_models([run]), store, SERVED, save_every=3600)
    started = time.monotonic()
    found = other.predict("local", "site", rows)
    assert time.monotonic() - started < 5
    assert found.rows[0]["id"] == 20
    other.learner.wait()
    assert other.describe("local", "site")["labels"] == 20
    other.learner.stop()
    other.residents.leases.stop()
    store.close()


def test_a_server_that_stops_lets_all_go(server, shared):
    a, b = server(shared), server(shared)
    taught(a, 0)
    a.stop()
    assert wait([b.residents.leases.fetch(a.store.stream("acme", "site").number)], 5).done
    assert taught(b, 1)[0]["id"] == 10


def test_a_second_server_on_one_file_is_refused(tmp_path):
    with Store(tmp_path / "store.db") as store, Store(tmp_path / "store.db") as other, alone(store):
        with pytest.raises(StoreError, match=r"Another server uses the store .*store\.db: .* PostgreSQL"), alone(other):
            pass
        other.stream("acme", "site", model="gas")  # other programs may
    with Store(tmp_path / "store.db") as store, alone(store):
        pass


def test_a_shared_database_is_not_alone(shared):
    with Store(shared) as store, Store(shared) as other, alone(store), alone(other):
        assert not store.lite

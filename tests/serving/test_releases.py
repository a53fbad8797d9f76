"""Versions change in a running server: what is answered before, in between and after, and by whom."""

from __future__ import annotations

import re
import threading

import pytest
from starlette.testclient import TestClient

import aet
from aet.client import Client, ServerError
from aet.errors import ConfigError, RunError, StoreError
from aet.serving.app import create_app, protected
from aet.serving.keys import Keys
from aet.serving.models import load_models
from aet.serving.refusals import Unknown
from aet.serving.service import Service
from aet.serving.store import Label, Store
from aet.serving.versions import Versions
from tests.adaptation.models import three
from tests.made import quick, signs
from tests.serving.conftest import rows_of

SERVED = {"guard": "always", "unlabelled": "always"}
"""The state answers, so that a wrong one would be seen."""


@pytest.fixture(scope="module")
def other():
    return aet.train(three(seed=5), target="y", config=quick(epochs=3, dim=16, dropout=0.0))


@pytest.fixture
def run(tmp_path, model, other):
    """A registry of two versions."""
    folder = model.save(tmp_path / "gas")
    Versions(folder).add(other.save(tmp_path / "later"), note="later")
    return folder


@pytest.fixture
def serve(run, tmp_path):
    """Servers over the registry, each with a store of its own unless named."""
    services, stores = [], {}

    def make(name="store", start=True, **settings):
        if name not in stores:
            stores[name] = Store(tmp_path / f"{name}.db")
        service = Service(load_models([run]), stores[name], settings, save_every=3600)
        if start:
            services.append(service.start())
        return service

    yield make
    for service in services:
        service.stop()
    for store in stores.values():
        store.close()


def learn(service, stream="s", count=24, seed=1, **drift):
    rows, truth = rows_of(count, seed, shift=1.5, **drift)
    ids = [row["id"] for row in service.predict("local", stream, rows).rows]
    service.feedback("local", stream, [Label(i, label) for i, label in zip(ids, truth, strict=True)]).result()


def said(service, stream="s", seed=7):
    """Answers but for their ids, and the version that gave them."""
    found = service.predict("local", stream, rows_of(30, seed, shift=1.5)[0], proba=True)
    return found.version, [{key: value for key, value in row.items() if key != "id"} for row in found.rows]


def test_promote_and_roll_back_give_the_answers_from_before_to_the_bit(serve, other):
    service, twin = serve(**SERVED), serve("twin", **SERVED)
    for one in (service, twin):
        learn(one)
    record = service.releases.promote("gas", 2, "May")
    assert (record["serving"], [line["role"] for line in record["versions"]]) == ("2", ["", "serving"])
    version, rows = said(service, seed=3)
    assert version == "2"
    fresh = other.stream(**SERVED).predict(rows_of(30, 3, shift=1.5)[0], proba=True)
    assert [row["p_p"] for row in rows] == fresh["p_p"].tolist()  # it starts at the source
    told = service.history("local", "s")[0]
    assert told["kind"] == "version"
    assert "Version 2 answers from here on and starts at its source" in told["text"]
    assert service.describe("local", "s")["labels"] == 0
    number = service.store.stream("local", "s").number
    assert len(list(service.store.labelled("gas", stream=number))) == 24  # what came is kept for retraining
    assert service.releases.back("gas")["serving"] == "1"
    version, rows = said(service)
    assert (version, rows) == said(twin)
    assert rows[0]["served_by"] == "proposal"
    assert "with the state that was saved" in service.history("local", "s")[0]["text"]
    assert service.predict("local", "s", rows_of(1)[0]).rows[0]["id"] == 24 + 30 + 30  # no id twice


def test_each_version_keeps_its_own_state_whatever_came_between(serve):
    service, twin = serve(**SERVED), serve("twin", **SERVED)
    service.store.keep_states = 1
    for one in (service, twin):
        learn(one, count=12)
    service.releases.promote("gas", 2)
    for seed in range(3):
        learn(service, count=4, seed=seed)
        service.saver.save()
    labels = service.describe("local", "s")["labels"]
    service.releases.back("gas")
    assert said(service) == said(twin)
    service.releases.promote("gas", 2)
    assert service.describe("local", "s")["labels"] == labels == 12
    kept = [(line.version, line.size > 0) for line in service.store.states(service.store.stream("local", "s").number)]
    assert [version for version, there in kept if there] == ["1", "2"]


def test_a_label_of_the_version_before_is_learned_by_the_one_that_serves(serve):
    service = serve()
    rows, truth = rows_of(6)
    service.predict("local", "s", rows)
    service.releases.promote("gas", 2)
    service.feedback("local", "s", [Label(3, truth[3])]).result()
    assert service.describe("local", "s")["labels"] == 1


def test_another_server_opens_what_serves_and_follows_other_programs(serve, run):
    Versions(run).promote(2)
    service = serve()
    assert service.model(None).version == "2"
    learn(service)
    Versions(run).roll_back()
    service.releases.follow()
    assert said(service)[0] == service.model("gas", "1").version == "1"
    with pytest.raises(Unknown, match="no version '2' that answers now"):
        service.model("gas", "2")


def test_requests_in_flight_are_finished_by_the_version_they_began_with(serve, run):
    service = serve()
    began, answers = threading.Event(), []
    go_on = threading.Event()

    def hold(*_):
        began.set()
        go_on.wait(10)

    with service.residents.use("local", "s", make=True) as resident:
        resident.stream.watch = hold
    asking = threading.Thread(target=lambda: answers.append(said(service)))
    asking.start()
    began.wait(10)
    changing = threading.Thread(target=lambda: service.releases.promote("gas", 2))
    changing.start()
    changing.join(0.1)
    assert changing.is_alive()
    assert Versions(run).serving.number == 1
    go_on.set()
    asking.join()
    changing.join()
    assert answers[0][0] == "1"
    assert said(service)[0] == "2"


def test_threads_that_ask_all_the_time_get_every_id_once(serve):
    service, ids, versions, stop = serve(), [], set(), threading.Event()

    def ask(stream):
        while not stop.is_set():
            found = service.predict("local", stream, rows_of(2)[0])
            versions.add(found.version)
            ids.extend((stream, row["id"]) for row in found.rows)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for _ in range(4):
        service.releases.promote("gas", 2)
        service.releases.back("gas")
    stop.set()
    for thread in threads:
        thread.join()
    assert len(ids) == len(set(ids)) > 0
    for stream in "ab":
        own = [known for name, known in ids if name == stream]
        assert own == list(range(len(own)))


def test_what_fails_changes_nothing(serve, run, monkeypatch, tmp_path):
    service = serve(**SERVED)
    learn(service)
    with pytest.raises(ConfigError, match="no version to roll back to"):
        service.releases.back("gas")
    with pytest.raises(ConfigError, match="There is no version 9"):
        service.releases.promote("gas", 9)
    with pytest.raises(Unknown, match="no model 'pump'"):
        service.releases.promote("pump", 1)
    foreign = aet.train(signs(), target="y", config=quick(1)).save(tmp_path / "foreign")
    Versions(run).add(foreign)
    with pytest.raises(ConfigError, match="read or answer other columns"):
        service.releases.promote("gas", 3)
    weights = run / "versions" / "2" / "model.safetensors"
    assert weights.is_file()
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(RunError):
        service.releases.promote("gas", 2)
    weights.write_bytes(whole)

    def full(*_, **__):
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(service.store, "keep_state", full)
        with pytest.raises(StoreError):
            service.releases.promote("gas", 2)
    assert Versions(run).serving.number == 1
    assert service.model(None).version == "1"
    assert service.describe("local", "s")["labels"] == 24


def test_a_shadow_answers_unseen_and_is_judged_by_labels(serve, other, model):
    service = serve()
    service.releases.shadow("gas", 2)
    rows, truth = rows_of(40, 2)
    ids = [row["id"] for row in service.predict("local", "s", rows).rows]
    service.learner.wait()
    found = service.releases.record("gas")["shadow"]
    both = [one.predict(rows)["prediction"].to_numpy() for one in (model, other)]
    assert (found["rows"], found["labels"], found["failed"]) == (40, 0, 0)
    assert found["agreement"] == pytest.approx((both[0] == both[1]).mean())
    labels = [Label(i, truth[i]) for i in ids[:20]]
    for _ in range(2):  # the second time as a client does that heard no answer
        service.feedback("local", "s", labels).result()
    service.learner.wait()
    found = service.releases.record("gas")["shadow"]
    assert found["labels"] == 20
    assert found["serving_accuracy"] == pytest.approx((both[0][:20] == truth[:20]).mean())
    assert found["accuracy"] == pytest.approx((both[1][:20] == truth[:20]).mean())
    assert found["low"] <= found["difference"] <= found["high"]
    assert service.releases.promote("gas", 2)["shadow"] is None  # it serves now
    assert said(service)[0] == "2"
    assert service.releases.shadow("gas", 1)["shadow"]["beside"] == "2"
    assert service.releases.shadow("gas", None)["shadow"] is None


def test_a_canary_answers_its_share_of_the_streams_wholly(serve, run):
    service = serve()
    names = [f"site-{n}" for n in range(16)]
    service.releases.canary("gas", 2, 0.25)

    def answering():
        return {name: service.predict("local", name, rows_of(1)[0]).version for name in names}

    few = answering()
    assert few == answering()
    assert 1 <= sum(version == "2" for version in few.values()) <= 8
    assert service.model("gas", "2").version == "2"
    service.releases.canary("gas", 2, 0.6)
    more = answering()
    assert {name for name in names if few[name] == "2"} < {name for name in names if more[name] == "2"}
    assert Versions(run).roles.share == 0.6
    service.releases.canary("gas", None)
    assert set(answering().values()) == {"1"}


def test_numbers_have_no_shadow_and_a_model_of_memory_no_versions(make_service, tmp_path):
    frame = signs().assign(y=lambda rows: rows["a"] - rows["b"])
    folder = aet.train(frame, target="y", config=quick(1)).save(tmp_path / "near")
    Versions(folder).add(folder)
    with Store(tmp_path / "near.db") as store:
        service = Service(load_models([folder]), store, save_every=3600)
        with pytest.raises(ConfigError, match="one class a row"):
            service.releases.shadow("near", 2)
        assert Versions(folder).roles.shadow is None
        service.learner.stop()
    service = make_service()
    assert service.releases.record("gas")["versions"][0]["role"] == "serving"
    with pytest.raises(ConfigError, match="one version only"):
        service.releases.promote("gas", 1)


def test_over_http_for_admins_alone(serve):
    service = serve(start=False)  # the app starts it
    keys = Keys(service.store.engine)
    admin, labeller = keys.add("admin", "ada"), keys.add("feedback", "bo")
    with TestClient(protected(create_app(service), keys)) as client:
        for path, body in (
            ("promote", {"number": 2}),
            ("back", {}),
            ("shadow", {"number": 2}),
            ("canary", {"number": 2}),
        ):
            refused = client.post(
                f"/versions/gas/{path}", json=body, headers={"Authorization": f"Bearer {labeller.secret}"}
            )
            assert refused.status_code == 403
        client.headers["Authorization"] = f"Bearer {admin.secret}"
        found = client.post("/versions/gas/promote", json={"number": 2, "reason": "May"})
        assert found.json()["serving"] == "2"
        rows = rows_of(2)[0]
        assert client.post("/predict", json={"rows": rows}).json()["version"] == "2"
        inputs = [{"name": c, "shape": [1], "datatype": "FP64", "data": [rows[0][c]]} for c in "abcd"]
        assert client.post("/v2/models/gas/infer", json={"inputs": inputs}).json()["model_version"] == "2"
        assert client.get("/v2/models/gas").json()["versions"] == ["2"]
        assert client.get("/v2/models/gas/versions/1").status_code == 404
        assert client.post("/versions/gas/promote", json={"number": 9}).status_code == 422
        assert client.post("/versions/none/back").status_code == 404
        page = client.get("/").text
        assert re.search(r'name="number" value="1"', page)
        page = client.post("/versions/promote", data={"model": "gas", "number": "1"})
        assert page.history[0].status_code == 303
        assert client.get("/versions/gas").json()["serving"] == "1"
        client.post("/versions/back", data={"model": "gas"})
        assert client.get("/versions/gas").json()["serving"] == "2"
        reasons = [line["reason"] for line in service.model("gas").registry.log()[1:]]
        assert reasons == [f"May (key {admin.name})"] + [f"from the page (key {admin.name})"] * 2
        assert {"promote", "roll back", "page"} <= {line.act for line in service.store.audited()}


def test_a_person_starts_and_ends_shadow_and_canary_on_the_page(serve):
    service = serve(start=False)
    with TestClient(protected(create_app(service), None)) as client:
        client.post("/predict", json={"rows": rows_of(2)[0]})
        version = {"model": "gas", "number": "2"}
        page = client.post("/versions/shadow", data=version)
        assert page.history[0].status_code == 303
        assert "End shadow" in page.text
        service.learner.wait()
        assert "The shadow, gas 2, has answered no row yet." in client.get("/").text
        client.post("/predict", json={"rows": rows_of(2)[0]})
        service.learner.wait()
        assert "The shadow, gas 2, answered 2 rows" in client.get("/").text.replace("\u00a0", " ")
        page = client.post("/versions/canary", data={**version, "percent": "25"})
        assert "25 % of the streams" in page.text.replace("\u00a0", " ")
        assert client.get("/versions/gas").json()["share"] == 0.25
        ended = {**version, "number": "0"}
        assert "End canary" not in client.post("/versions/canary", data=ended).text
        assert "End shadow" not in client.post("/versions/shadow", data=ended).text
        roles = service.model("gas").registry.roles
        assert (roles.shadow, roles.canary) == (None, None)
        for percent in ("0", "100"):
            refused = client.post("/versions/canary", data={**version, "percent": percent})
            assert refused.status_code == 422
            assert "between 0 and 1" in refused.text


def test_the_client_changes_versions(serve):
    service = serve(start=False)
    with TestClient(protected(create_app(service), None)) as http:
        client = Client("http://testserver", http=http)
        assert client.versions("gas")["serving"] == "1"
        assert client.shadow("gas", 2)["shadow"]["version"] == "2"
        assert client.shadow("gas", None)["shadow"] is None
        assert client.canary("gas", 2, share=0.5)["share"] == 0.5
        assert client.canary("gas", None)["canary"] is None
        assert client.promote("gas", 2, "better in May")["serving"] == "2"
        assert client.rollback("gas", "complaints")["serving"] == "1"
        with pytest.raises(ConfigError, match="no version to roll back"):
            client.rollback("gas")
        with pytest.raises(ServerError) as refused:
            client.versions("none")
        assert refused.value.kind == "Unknown"


def test_no_version_is_loaded_while_the_gate_is_closed(serve, monkeypatch):
    from aet.serving import versions

    service, loads = serve(), []
    load = versions.load

    def watched(path):
        loads.append(service.residents.gate._shut)
        return load(path)

    monkeypatch.setattr(versions, "load", watched)
    service.releases.promote("gas", 2)
    assert loads == [False]
    service.releases.back("gas")  # version 1 is not in memory any more
    assert loads == [False, False]
    service.releases.canary("gas", 2, share=0.5)
    service.releases.promote("gas", 2)  # it is in memory, but its files may have been damaged since
    assert loads == [False] * 4

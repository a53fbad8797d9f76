"""The API over ASGI: routes, refusals as JSON, keys, the typed client, and whatever else may be sent."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import schemathesis
from hypothesis import Phase, given, settings
from hypothesis.errors import Unsatisfiable
from starlette.testclient import TestClient

from aet.client import Client, ServerError
from aet.errors import FeedbackError, SchemaError
from aet.serving.app import create_app, protected
from aet.serving.inference import metadata
from aet.serving.keys import Keys
from aet.serving.limits import Allowed, Limits
from aet.serving.models import Served
from aet.serving.service import Service
from tests.serving.conftest import rows_of


def test_from_rows_to_labels(client):
    rows, truth = rows_of(20)
    answer = client.post("/predict", json={"stream": "site-7", "rows": rows, "proba": True})
    assert answer.status_code == 200
    body = answer.json()
    assert {name: body[name] for name in ("model", "version", "stream")} == {
        "model": "gas",
        "version": "1",
        "stream": "site-7",
    }
    assert [row["id"] for row in body["answers"]] == list(range(20))
    first = body["answers"][0]
    assert set(first) == {"id", "prediction", "confidence", "served_by", "problem", "p_p", "p_q", "p_r"}
    ids = client.post("/ask", json={"stream": "site-7", "count": 4}).json()["ids"]
    assert len(set(ids)) == 4
    labels = [{"id": i, "label": truth[i]} for i in ids]
    taken = client.post("/feedback", json={"stream": "site-7", "labels": labels, "wait": True})
    assert taken.json() == {"stream": "site-7", "kept": 4, "learned": True}
    stream = client.get("/streams/site-7").json()
    assert (stream["rows"], stream["labels"], stream["asked"]) == (20, 4, 4)
    assert client.get("/streams/site-7/state").json()["size"] > 0
    kinds = [line["kind"] for line in client.get("/streams/site-7/history").json()]
    assert kinds == ["feedback", "proposal", "asked"]
    assert client.post("/streams/site-7/undo", json={"steps": 1}).json()["state"]["size"] == 0
    columns = {line["column"] for line in client.get("/drift", params={"stream": "site-7"}).json()["columns"]}
    assert columns == set("abcd")
    assert client.delete("/streams/site-7").json()["rows"] == 20
    assert client.get("/streams").json() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "says"),
    [
        ("POST", "/predict", {"rows": [{"a": 1.0}]}, 422, "SchemaError", "Missing columns: 'b'"),
        ("POST", "/predict", {"rows": []}, 422, "FormError", "rows"),
        ("POST", "/predict", {"rows": [{"a": 1}], "extra": 1}, 422, "FormError", "extra"),
        ("POST", "/predict", {"rows": [{"a": 1}], "stream": "../etc"}, 422, "FormError", "stream"),
        ("POST", "/predict", {"rows": [{"a": 1}], "model": "other"}, 404, "Unknown", "'gas'"),
        ("POST", "/predict", {"rows": [{"a": {"b": 1}}]}, 422, "FormError", "rows"),
        ("POST", "/feedback", {"labels": [{"id": 1, "label": "p"}], "stream": "none"}, 404, "Unknown", "none"),
        ("POST", "/ask", {"count": 100_000}, 422, "FormError", "count"),
        ("POST", "/streams", {"stream": "x", "settings": {"adapt": "nope"}}, 422, "ConfigError", "nope"),
        ("POST", "/streams", {"stream": "x", "settings": {"model": 1}}, 422, "ConfigError", "settings"),
        ("GET", "/streams/none", None, 404, "Unknown", "none"),
        ("GET", "/v2/models/other", None, 404, "Unknown", "'gas'"),
        ("GET", "/v2/models/gas/versions/7", None, 404, "Unknown", "version"),
        ("GET", "/nowhere", None, 404, "HTTPError", "Not Found"),
        ("DELETE", "/predict", None, 405, "HTTPError", "Not Allowed"),
    ],
)
def test_refusals_say_what_is_wrong(client, method, path, body, status, kind, says):
    answer = client.request(method, path, json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["kind"] == kind
    assert says in error["message"]
    assert "Traceback" not in answer.text


def test_bad_cells_are_problems_of_their_rows(client):
    rows, _ = rows_of(4)
    rows[1]["a"], rows[2]["b"], rows[3]["c"] = "broken", 10**400, None
    answer = client.post("/predict", json={"rows": rows})
    problems = [row["problem"] for row in answer.json()["answers"]]
    assert [problem is None for problem in problems] == [True, False, False, True]
    assert problems[1].startswith("row 2, column 'a'")
    half = b'{"rows": [{"a": "\\ud800", "b": 1, "c": 1, "d": 1}]}'  # of a surrogate pair
    assert client.post("/predict", content=half).status_code == 422
    assert client.post("/predict", content=b'{"rows": [{"a": NaN}]}').status_code == 422


def test_open_inference(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").status_code == 200
    assert [tensor["name"] for tensor in client.get("/v2/models/gas").json()["inputs"]] == list("abcd")
    assert client.get("/v2/models/gas/versions/1/ready").json()["ready"]
    rows, _ = rows_of(3)
    inputs = [
        {"name": name, "shape": [3, 1], "datatype": "FP64", "data": [row[name] for row in rows]} for name in "abcd"
    ]
    asked = {"id": "7", "inputs": inputs, "outputs": [{"name": "prediction"}], "parameters": {"stream": "s"}}
    body = client.post("/v2/models/gas/versions/1/infer", json=asked).json()
    same = client.post("/predict", json={"rows": rows, "stream": "t"}).json()["answers"]
    assert (body["id"], body["model_name"], body["model_version"]) == ("7", "gas", "1")
    assert body["outputs"] == [
        {"name": "prediction", "shape": [3], "datatype": "BYTES", "data": [row["prediction"] for row in same]}
    ]
    for wrong in ({"shape": [2]}, {"name": "b"}, {"shape": [3, 2]}):
        spoiled = {**asked, "inputs": [{**inputs[0], **wrong}, *inputs[1:]]}
        assert client.post("/v2/models/gas/infer", json=spoiled).status_code == 422


def test_open_inference_of_two_models_needs_no_stream(model, store):
    """Streams are ours: a client of the protocol knows only models."""
    service = Service({"gas": Served("gas", "1", model), "oil": Served("oil", "1", model)}, store, save_every=3600)
    rows, _ = rows_of(3)
    inputs = [{"name": n, "shape": [3], "datatype": "FP64", "data": [row[n] for row in rows]} for n in "abcd"]
    with TestClient(protected(create_app(service), None)) as client:
        for name in ("gas", "oil", "gas"):
            body = client.post(f"/v2/models/{name}/infer", json={"inputs": inputs})
            assert (body.status_code, body.json()["model_name"]) == (200, name)
        assert {line["stream"] for line in client.get("/streams").json()} == {"gas", "oil"}
    service.learner.stop()


def test_metadata_names_the_id(model):
    schema = replace(model.schema, id="name")
    assert metadata(schema)[-1] == {"name": "name", "datatype": "BYTES", "shape": [-1]}


def test_metrics_count_by_route_and_by_who_answered(client):
    client.post("/predict", json={"rows": rows_of(5)[0]})
    client.get("/streams/none-a")
    client.get("/streams/none-b")
    text = client.get("/metrics").text
    assert 'aet_rows_total{served_by="source"} 5.0' in text
    assert 'aet_requests_total{route="/streams/{name}",status="404"} 2.0' in text
    assert "none-a" not in text


def test_two_keys_never_see_each_other(service, store):
    keys = Keys(store.engine)
    ada, bo = keys.add("feedback", owner="ada"), keys.add("feedback", owner="bo")
    reader, admin = keys.add("predict", owner="ada"), keys.add("admin", owner="ops")
    rows, truth = rows_of(4)
    with TestClient(protected(create_app(service), keys)) as client:

        def send(key, method, path, body=None):
            return client.request(method, path, json=body, headers={"Authorization": f"Bearer {key.secret}"})

        assert client.post("/predict", json={"rows": rows}).status_code == 401
        assert send(ada, "POST", "/predict", {"stream": "s", "rows": rows}).status_code == 200
        assert send(bo, "GET", "/streams").json() == []
        label = {"stream": "s", "labels": [{"id": 0, "label": truth[0]}], "wait": True}
        for key, status in ((bo, 404), (reader, 403)):
            assert send(key, "POST", "/feedback", label).status_code == status
        for path in ("/streams/s", "/streams/s/state", "/streams/s/history", "/drift?stream=s"):
            assert send(bo, "GET", path).status_code == 404
        for path in ("/streams/s/undo", "/streams/s/reset"):
            assert send(bo, "POST", path).status_code == 404
            assert send(reader, "POST", path).status_code == 403
        assert send(bo, "POST", "/predict", {"stream": "s", "rows": rows, "owner": "ada"}).status_code == 403
        assert send(bo, "DELETE", "/streams/s").status_code == 403
        assert send(ada, "GET", "/streams/s").json()["rows"] == 4
        assert send(ada, "GET", "/streams/s").json()["labels"] == 0
        assert send(admin, "GET", "/streams/s?owner=ada").json()["rows"] == 4
    assert {line.key for line in store.audited()} >= {bo.name, reader.name}


def test_what_is_not_sent_as_json_says_so(client):
    for type_ in ("application/x-www-form-urlencoded", "text/plain"):
        answer = client.post("/ask", content='{"stream": "s"}', headers={"Content-Type": type_})
        assert answer.status_code == 422
        assert "curl --json" in answer.json()["error"]["message"]
    assert "curl --json" not in client.post("/ask", json={"count": 0}).json()["error"]["message"]


def test_limits_of_a_key_are_429_with_a_time_to_wait(service):
    app = create_app(service, limits=Limits(Allowed(rows=1, burst_rows=4)))
    with TestClient(protected(app, None)) as client:
        assert client.post("/predict", json={"rows": rows_of(3)[0]}).status_code == 200
        answer = client.post("/predict", json={"rows": rows_of(3)[0]})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (429, "Exceeded")
        assert int(answer.headers["retry-after"]) >= 1


def test_a_store_that_fails_is_503_and_not_the_end(client, store, monkeypatch):
    from aet.errors import StoreError

    def full(*_):
        raise StoreError("The disk is full. Make room.")

    with monkeypatch.context() as broken:
        broken.setattr(store, "answered_together", full)
        answer = client.post("/predict", json={"rows": rows_of(1)[0]})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "StoreError")
        assert "retry-after" in answer.headers
    assert client.post("/predict", json={"rows": rows_of(1)[0]}).status_code == 200


def test_a_fault_of_ours_is_one_500_without_a_traceback(service, monkeypatch):
    with TestClient(protected(create_app(service), None), raise_server_exceptions=False) as client:
        with monkeypatch.context() as broken:
            broken.setattr(service, "answer", lambda asks: 1 // 0)
            answer = client.post("/predict", json={"rows": rows_of(1)[0]})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (500, "Fault")
        assert "division" not in answer.text
        assert client.post("/predict", json={"rows": rows_of(1)[0]}).status_code == 200


class TestClientOfAet:
    @pytest.fixture
    def remote(self, client):
        return Client("http://testserver", http=client)

    def test_frames_in_frames_out(self, remote, model):
        rows, truth = rows_of(30)
        frame = pd.DataFrame(rows)
        frame.loc[3, "a"] = np.nan
        frame.loc[4, "a"] = np.inf
        answers = remote.predict(frame, stream="s", at_once=7)
        expected = model.predict(frame)
        assert answers["prediction"].fillna("none").tolist() == expected["prediction"].fillna("none").tolist()
        assert "expected a" in answers.loc[4, "problem"]
        ids = remote.ask(4, stream="s")
        assert remote.feedback(ids, [truth[i] for i in ids], stream="s", wait=True) == 4
        assert remote.stream("s")["labels"] == 4
        assert remote.history("s")["kind"].tolist()[0] == "feedback"
        assert remote.state("s")["size"] > 0
        undone = remote.undo("s")
        assert (undone["state"]["size"], undone["labels"]) == (0, 0)
        assert remote.reset("s")["labels"] == 0
        assert remote.drift("s")["rows"] == 30
        assert remote.create("t", guard="never")["guard"]["name"] == "never"
        assert [line["stream"] for line in remote.streams()] == ["s", "t"]
        assert remote.forget("s")["rows"] == 30
        assert remote.ready()

    def test_errors_come_back_as_themselves(self, remote):
        with pytest.raises(SchemaError, match="Missing columns"):
            remote.predict([{"a": 1}])
        remote.predict(rows_of(2)[0])
        with pytest.raises(FeedbackError, match="No row with the id"):
            remote.feedback([99], ["p"])
        with pytest.raises(FeedbackError, match="one label"):
            remote.feedback([1], [])
        with pytest.raises(ServerError, match="no stream") as caught:
            remote.stream("none")
        assert (caught.value.kind, caught.value.status) == ("Unknown", 404)

    def test_a_server_that_is_not_there(self):
        with Client("http://127.0.0.1:9", seconds=2) as client:
            assert not client.ready()
            with pytest.raises(ServerError, match="not reached"):
                client.streams()


def test_whatever_is_sent_there_is_no_5xx(service):
    free = Allowed(requests=1e6, burst_requests=1e6, rows=1e9, burst_rows=1e9, asked=1e9, unasked=1e9)
    app = create_app(service, limits=Limits(free))
    with TestClient(protected(app, None)) as client:
        operations = [found.ok() for found in schemathesis.openapi.from_dict(app.openapi()).get_all_operations()]
        assert len(operations) >= 20
        for operation in operations:

            @settings(max_examples=4, deadline=None, database=None, phases=[Phase.generate], derandomize=True)
            @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE))
            def valid(case):
                check(client, case)

            @settings(max_examples=4, deadline=None, database=None, phases=[Phase.generate], derandomize=True)
            @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
            def wrong(case):
                check(client, case)

            valid()
            with suppress(Unsatisfiable):  # a route without anything to get wrong
                wrong()


def check(client, case):
    """No answer is a fault, and every refusal has the one form."""
    sent = case.as_transport_kwargs(base_url="http://testserver")
    if "data" in sent:
        sent["content"] = sent.pop("data")
    sent.pop("files", None)
    answer = client.request(**sent)
    assert answer.status_code < 500, (case.as_curl_command(), answer.text)
    if answer.status_code >= 400 and "error" in answer.json():
        assert set(answer.json()["error"]) == {"kind", "message"}

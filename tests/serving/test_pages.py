"""The pages over ASGI: what a person sees and sends, with and without keys."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from aet.serving.app import create_app, protected
from aet.serving.keys import Keys
from aet.serving.pages import answers
from tests.serving.conftest import rows_of

PAGE = "/page/streams/local/site-7"


def served(client, count=40):
    rows, truth = rows_of(count)
    client.post("/predict", json={"stream": "site-7", "rows": rows})
    return truth


def test_the_first_page_names_streams_and_versions(client):
    assert "no stream has sent a row yet" in client.get("/").text
    served(client)
    page = client.get("/")
    assert page.status_code == 200
    assert "1 stream is served, and no alarm is open." in page.text
    assert f'<a href="{PAGE}">local / site-7</a>' in page.text
    assert "gas 1" in page.text


def test_rows_are_asked_for_labelled_and_taken_back(client):
    truth = served(client)
    asked = client.post(f"{PAGE}/ask", data={"count": "8"})
    assert asked.history[0].status_code == 303
    ids = re.findall(r'name="id-(\d+)" value="(\d+)"', asked.text)
    assert len(ids) == 8
    fields = {f"id-{n}": known for n, known in ids} | {f"label-{n}": truth[int(known)] for n, known in ids}
    fields["label-0"] = ""  # not known
    page = client.post(f"{PAGE}/labels", data=fields)
    assert page.status_code == 200
    assert client.get("/streams/site-7").json()["labels"] == 7
    assert "1 row waits for a true answer" in page.text.replace("\u00a0", " ")
    client.post(f"{PAGE}/undo", data={"steps": "1"})
    assert client.get("/streams/site-7").json()["state"]["size"] == 0
    assert client.post(f"{PAGE}/reset").status_code == 200


def test_alarms_are_closed(client, service):
    served(client)
    service.store.alarm(None, "disk", "The disk is nearly full.", "Make room.")
    page = client.get("/").text
    assert "The disk is nearly full." in page
    number = re.search(r'name="number" value="(\d+)"', page)[1]
    assert "no alarm is open" in client.post("/alarms/close", data={"number": number}).text


@pytest.mark.parametrize(
    ("path", "fields", "status", "says"),
    [
        ("/page/streams/local/none/reset", {}, 404, "no stream"),
        (f"{PAGE}/ask", {"count": "many"}, 422, "whole number"),
        (f"{PAGE}/ask", {}, 422, "whole number"),
        (f"{PAGE}/undo", {"steps": "99"}, 422, "can be undone"),
        (f"{PAGE}/labels", {"label-0": "p"}, 422, "without the id"),
        (f"{PAGE}/labels", {"id-0": "[", "label-0": "p"}, 422, "without the id"),
        (f"{PAGE}/labels", {"id-0": "0", "label-0": "<script>"}, 422, "&lt;script&gt;"),
        (f"{PAGE}/labels", {"id-0": "[1]", "label-0": "p"}, 422, "id"),
    ],
)
def test_what_cannot_be_is_said_on_a_page(client, path, fields, status, says):
    served(client)
    page = client.post(path, data=fields)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert says in page.text


def test_what_is_no_form_is_refused(client):
    served(client)
    for body in (b"\xff\xfe", b"a" * 10, b"&".join(b"a%d=1" % n for n in range(1000))):
        page = client.post(f"{PAGE}/ask", content=body)
        assert page.status_code == 422


def test_a_form_of_another_site_is_refused(client):
    served(client)
    for origin in ("https://evil.example", "null"):
        assert client.post(f"{PAGE}/reset", headers={"Origin": origin}).status_code == 403
    assert client.post(f"{PAGE}/reset", headers={"Origin": "http://testserver"}).status_code == 200


def test_pages_say_where_they_come_from_and_run_only_their_own_script(client):
    headers = client.get("/").headers
    assert headers["referrer-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "'unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy


def test_everyone_sees_their_own_and_does_what_their_key_may(service):
    keys = Keys(service.store.engine)
    made = {
        name: keys.add(role, owner)
        for name, role, owner in [
            ("admin", "admin", "local"),
            ("a", "feedback", "a"),
            ("b", "feedback", "b"),
            ("look", "predict", "a"),
        ]
    }
    with TestClient(protected(create_app(service), keys)) as client:

        def as_(name):
            return {"auth": ("any", made[name].secret)}

        refused = client.get("/", headers={"Accept": "text/html"})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        rows, _ = rows_of(20)
        for name in "ab":
            client.post("/predict", json={"stream": f"of-{name}", "rows": rows}, **as_(name))
        assert "of-a" in client.get("/", **as_("a")).text
        assert "of-b" not in client.get("/", **as_("a")).text
        assert "of-b" in client.get("/", **as_("admin")).text
        assert client.get("/page/streams/b/of-b", **as_("a")).status_code == 403
        assert client.post("/page/streams/b/of-b/reset", **as_("a")).status_code == 403
        assert client.post("/page/streams/a/of-a/reset", **as_("look")).status_code == 403
        assert client.post("/alarms/close", data={"number": "1"}, **as_("a")).status_code == 403
        assert client.post("/page/streams/b/of-b/reset", **as_("admin")).status_code == 200


def test_ids_of_any_kind_come_back():
    (one,) = answers({"id-3": "1.5", "label-3": "p", "id-4": "2", "label-4": " "})
    assert (one.id, one.label) == (1.5, "p")

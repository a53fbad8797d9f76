"""`aet keys`: a key is made, shown once, listed without its secret, and revoked."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from aet.cli import app
from aet.serving.keys import Caller, Keys

Store = pytest.importorskip("aet.serving.store").Store


@pytest.fixture
def aet(tmp_path):
    """Runs `aet keys`; gives the exit code and the JSON."""

    def run(*words: str) -> tuple[int, dict]:
        url = [] if "--store" in words else ["--store", str(tmp_path / "store.db")]
        done = CliRunner().invoke(app, ["keys", *words, *url, "--json"])
        return done.exit_code, json.loads(done.stdout)

    return run


def test_a_key_from_made_to_revoked(aet, tmp_path):
    code, made = aet("add", "--role", "feedback", "--owner", "acme")
    assert code == 0
    with Store(tmp_path / "store.db") as store:
        assert Keys(store.engine).caller(made["key"]) == Caller(made["name"], "feedback", "acme")
    code, listed = aet("list")
    assert code == 0
    assert [(k["name"], k["role"], k["owner"], k["revoked"]) for k in listed["keys"]] == [
        (made["name"], "feedback", "acme", None)
    ]
    assert made["key"].split("_")[2] not in json.dumps(listed)
    assert aet("revoke", made["name"]) == (0, {"revoked": made["name"], "within_seconds": 5.0})
    with Store(tmp_path / "store.db") as store:
        assert Keys(store.engine).caller(made["key"]) is None
    assert aet("list")[1]["keys"][0]["revoked"] is not None


@pytest.mark.parametrize("words", [["list"], ["revoke", "ffffffffffff"]])
def test_a_misspelt_store_is_not_made(aet, tmp_path, words):
    code, answer = aet(*words, "--store", str(tmp_path / "typo.db"))
    assert code == 2
    assert "There is no store" in answer["error"]["message"]
    assert not (tmp_path / "typo.db").exists()


def test_for_people(tmp_path):
    url = ["--store", str(tmp_path / "store.db")]
    made = CliRunner().invoke(app, ["keys", "add", *url])
    assert made.stdout.strip().startswith("aet_")
    assert "cannot be shown again" in made.stderr
    listed = CliRunner().invoke(app, ["keys", "list", *url])
    assert "predict" in listed.stdout
    assert made.stdout.strip() not in listed.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "--role", "root"], "no role 'root'"),
        (["add", "--owner", "../x"], "An owner is"),
        (["revoke", "ffffffffffff"], "no key 'ffffffffffff'"),
        (["list", "--store", ""], "Which store"),
        (["list", "--store", "mysql://u:secret@h/x"], "postgresql://"),
    ],
)
def test_what_cannot_be_is_a_sentence(aet, words, said):
    aet("add")
    code, answer = aet(*words)
    assert code == 2
    assert said in answer["error"]["message"]
    assert "secret" not in json.dumps(answer)

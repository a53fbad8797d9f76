"""`aet versions` and `aet retrain`: what they print, what they change, and their exit codes."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

import aet
from aet.cli import app
from aet.errors import RunError
from aet.serving.versions import Versions
from tests.made import quick, signs
from tests.serving.test_retrain import serve, swapped


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(*arguments, code=0):
    done = call(*arguments, "--json")
    assert done.exit_code == code, done.stdout
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "gas"
    config = quick(15)
    config["train"] |= {"keep_rows": 40, "lr": 0.02}
    aet.train(signs(), target="y", config=config, out=folder)
    return folder


@pytest.fixture
def run(source, tmp_path):
    return shutil.copytree(source, tmp_path / "gas")


def test_versions_are_listed_and_changed(run):
    Versions(run).add(run, note="once more")
    found = read("versions", run)
    assert [(line["number"], line["role"], line["note"]) for line in found["versions"]] == [
        (1, "serving", ""),
        (2, "", "once more"),
    ]
    assert 0 < found["versions"][0]["accuracy"] <= 1
    assert read("versions", run, "--promote", "2", "--reason", "May")["serving"] == 2
    assert Versions(run).log()[-1]["reason"] == "May"
    assert read("versions", run, "--back")["serving"] == 1
    assert read("versions", run, "--shadow", "2")["shadow"] == 2
    found = read("versions", run, "--canary", "2", "--share", "0.25")
    assert (found["canary"], found["share"], found["versions"][1]["role"]) == (2, 0.25, "shadow, canary")
    assert "canary of 25% of the streams" in call("versions", run).stdout
    assert read("versions", run, "--canary", "0")["canary"] is None
    assert read("versions", run, "--shadow", "0")["shadow"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--promote", "7"], "There is no version 7"),
        (["--back"], "no version to roll back to"),
        (["--back", "--promote", "1"], "One change at a time"),
        (["--canary", "1"], "serves already"),
    ],
)
def test_what_cannot_be_changed_is_said(run, options, says):
    assert says in read("versions", run, *options, code=2)["error"]["message"]


def test_a_folder_without_models_is_no_registry(tmp_path):
    assert "holds no model" in read("versions", tmp_path, code=2)["error"]["message"]


def test_labels_of_a_store_become_a_version(run, tmp_path):
    from aet.serving.store import Store

    with Store(run / "store.db") as store:
        serve(store, swapped(160, seed=1))
    refused = read("retrain", run, "--gate", "0", code=3)
    assert refused["version"] is None
    assert "points" in refused["refused"]
    assert len(Versions(run).all()) == 1
    found = read("retrain", run, "--held", "0.25", "--since", "2000-01-01", "--promote")
    assert (found["version"], found["learned"], found["comparison"]["rows"]) == (2, 120, 40)
    compared = found["comparison"]
    assert compared["low"] <= compared["difference"] <= compared["high"]
    assert found["promoted"] == compared["better"] == (compared["low"] > 0)
    assert read("versions", run)["serving"] == (2 if found["promoted"] else 1)
    assert "labelled rows that it has not learned" in read("retrain", run, "--least", "100", code=2)["error"]["message"]
    done = call("retrain", run, "--store", run / "store.db", "--least", "30")
    assert done.exit_code == 0
    assert "Version 3 learned" in done.stdout
    assert "95 % interval" in done.stdout


@pytest.mark.parametrize(
    ("options", "says"), [(["--since", "May"], "--since takes a time"), ([], "There is no store at")]
)
def test_what_cannot_be_retrained_is_said(run, options, says):
    assert says in read("retrain", run, *options, code=2)["error"]["message"]
    assert not (run / "store.db").exists()


def test_a_run_with_versions_is_not_replaced(run, tmp_path):
    """Version 1 is what roll-backs go to, and what the others were made from."""
    before = (run / "schema.json").read_bytes()
    Versions(run).add(run)
    signs(40).to_csv(tmp_path / "rows.csv", index=False)
    refused = call("train", tmp_path / "rows.csv", "--target", "y", "--out", run)
    assert refused.exit_code == 2
    assert "holds versions" in refused.stderr
    assert "replaces" not in refused.stderr
    with pytest.raises(RunError, match="aet retrain"):
        aet.load(run).save(run)
    assert (run / "schema.json").read_bytes() == before


def test_who_answers_with_the_first_version_hears_that_another_serves(run, tmp_path):
    signs(20).to_csv(tmp_path / "rows.csv", index=False)
    Versions(run).add(run)
    assert "serves" not in call("evaluate", run, tmp_path / "rows.csv").stderr
    Versions(run).promote(2)
    for verb in ("predict", "evaluate", "stream"):
        done = call(verb, run, tmp_path / "rows.csv")
        assert f"version 2 serves. For that one name {run / 'versions' / '2'}." in done.stderr
    assert "serves" not in call("evaluate", run / "versions" / "2", tmp_path / "rows.csv").stderr

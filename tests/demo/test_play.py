"""Demonstrations from end to end, on a few of their rows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import aet
from aet.cli import app
from aet.demo import DEMOS, learn, serve
from aet.demo.base import Demo

SMALL = {
    "model": {"dim": 16, "depth": 1, "heads": 2, "dropout": 0.0},
    "train": {"epochs": 2},
    "inputs": {"image": {"patch": 14}},
}


@pytest.fixture
def small(mnist, monkeypatch):
    """A digits demonstration of few rows and a small model, under the name of the whole one."""
    whole = DEMOS["digits"]

    def prepare(seed: int) -> Demo:
        demo = whole(seed)
        parts = [(name, frame.iloc[:140]) for name, frame in (demo.parts[0], demo.parts[-1])]
        return replace(demo, rows=demo.rows.iloc[:200], parts=parts, training={"config": SMALL})

    monkeypatch.setitem(DEMOS._entries, "digits", prepare)
    return prepare(0)


def test_it_trains_and_replays(small, tmp_path):
    model = learn(small, tmp_path / "run", seed=0)
    result = serve(small, model, seed=0)
    assert model.schema.inputs[0].kind == "image"
    assert [part["rows"] for part in result.record["parts"]] == [140, 140]
    assert set(result.record["summary"]["methods"]) == {"restandardise", "align", "tent"}
    assert result.record["title"] == small.title
    assert 0 < result.stream.labels <= 96
    assert aet.load(tmp_path / "run").report["rows"] == model.report["rows"]


def test_the_command_prints_a_table_and_the_report(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 0, done.stderr
    assert "camera, 100 % worn" in done.stdout
    assert "Report: runs/demo-digits/report.html" in done.stdout
    page = (tmp_path / "runs/demo-digits/report.html").read_text()
    assert small.title in page
    assert page.count('src="data:image/') == 24


def test_interrupted_while_it_serves(small, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("aet.demo.base.replay", interrupted)
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "run")])
    assert done.exit_code == 130
    assert "checkpoint" not in done.stderr
    assert f"The model is trained and lies in {tmp_path / 'run'}" in done.stderr
    assert aet.load(tmp_path / "run").report["rows"] > 0
    (tmp_path / "run" / "report.html").touch()
    again = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "run")])
    assert "run holds a finished run, which this one replaces at its end.\n" in again.stderr, "the report is made anew"


def test_the_command_answers_one_object(small, tmp_path):
    done = CliRunner().invoke(app, ["demo", "digits", "--out", str(tmp_path / "run"), "--json"])
    told = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert told["train"]["rows"] > 150
    assert [part["name"] for part in told["parts"]] == [name for name, _ in small.parts]
    assert (tmp_path / "run" / "stream" / "record.json").is_file()
    again = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--stream", str(tmp_path / "run" / "stream")])
    assert again.exit_code == 0, again.stderr

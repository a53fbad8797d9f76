"""`aet update`: what it prints where, what it writes, and its exit codes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import aet
from aet.cli import app

from .made import signs

SMALL = ["model.dim=8", "model.depth=1", "model.heads=2", "train.epochs=15", "train.keep_rows=40"]
SMALL += ["train.lr=0.01", "train.drift=0", "train.batch_size=32"]
SHORT = ["--set", "train.epochs=2"]


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, and rows that come later under another rule."""
    made = tmp_path_factory.mktemp("update")
    signs(160).to_csv(made / "rows.csv", index=False)
    later = signs(400, 1)  # more than the old, so that the new rule wins
    later["y"] = later["y"].map({"plus": "minus", "minus": "plus"})
    later.to_csv(made / "later.csv", index=False)
    signs(60, 2).to_csv(made / "more.csv", index=False)
    settings = [part for setting in SMALL for part in ("--set", setting)]
    done = call("train", made / "rows.csv", "--target", "y", "--out", made / "run", *settings)
    assert done.exit_code == 0, done.stderr
    return made


def test_for_people(folder, tmp_path):
    before = {file.name: file.read_bytes() for file in (folder / "run").iterdir()}
    done = call("update", folder / "run", folder / "more.csv", "--out", tmp_path / "new", *SHORT)
    assert done.exit_code == 0, done.stderr
    for words in ("retrained from scratch", "fine-tuned on the new rows alone", "backward transfer", "Run folder:"):
        assert words in done.stdout
    assert "kept rows are replayed, each for 4.0" in done.stderr
    assert aet.load(tmp_path / "new").report["update"]["number"] == 1
    assert {file.name: file.read_bytes() for file in (folder / "run").iterdir()} == before
    page = call("report", tmp_path / "new")
    assert page.exit_code == 0, page.stderr
    assert "The last update" in (tmp_path / "new" / "report.html").read_text()


def test_one_json_object(folder, tmp_path):
    done = call("update", folder / "run", folder / "more.csv", "--out", tmp_path / "new", "--json", *SHORT)
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert done.stdout.count("\n") == 1
    assert told["runs"].keys() == {"before", "update", "scratch", "fine_tuning"}
    assert told["refused"] is None
    assert told["new"]["rows"] == 48
    assert told["run"] == str(tmp_path / "new")


def test_the_gate_exits_with_3_and_writes_no_model(folder, tmp_path):
    arguments = (
        *("update", folder / "run", folder / "later.csv", "--out", tmp_path / "new", "--gate", 0, "--no-compare"),
        *("--old", folder / "rows.csv", "--set", "train.epochs=15", "--set", "train.lr=0.03"),
    )
    plain, told = call(*arguments), call(*arguments, "--json")
    assert (plain.exit_code, told.exit_code) == (3, 3)
    assert "no model was written" in plain.stderr
    assert "forgetting" in plain.stdout
    answer = json.loads(told.stdout)
    assert answer["run"] is None
    assert "at most 0 are allowed" in answer["refused"]
    assert not (tmp_path / "new").exists()


def test_mistakes_exit_with_2(folder, tmp_path):
    pd.read_csv(folder / "more.csv").assign(extra=1).to_csv(tmp_path / "wide.csv", index=False)
    new = call("update", folder / "run", tmp_path / "wide.csv", "--out", tmp_path / "new")
    assert new.exit_code == 2
    assert "not trained with: 'extra'" in new.stderr
    same = call("update", folder / "run", folder / "more.csv", "--out", folder / "run")
    assert same.exit_code == 2
    assert "the old model stays as it is" in same.stderr
    assert call("update", tmp_path, folder / "more.csv").exit_code == 2


def test_the_default_folder_lies_beside_the_run(folder):
    done = call("update", folder / "run", folder / "more.csv", "--no-compare", "--json", *SHORT)
    assert json.loads(done.stdout)["run"] == str(folder / "run-updated")
    assert aet.load(folder / "run-updated").reservoir.seen == 160 + 60


def test_help_has_an_example_and_the_exit_code():
    shown = call("update", "--help").stdout
    assert "aet update runs/gas may.csv --out runs/gas-may --gate 2" in " ".join(shown.split())
    assert "Exit code 3" in shown

"""Every verb of the command, end to end on small data: what it prints where, what it writes, how it fails."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import aet
from aet.config import Config

from .commands import SMALL, answer, call, failure, rows, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("cli"))


def test_train_writes_a_run_and_answers_one_object(folder, tmp_path):
    told = answer("train", folder / "rows.csv", "--target", "colour", "--out", tmp_path / "run", *SMALL)
    assert (told["rows"], told["epochs"], told["metric"], told["target"]) == (128, 4, "accuracy", ["colour"])
    assert told["state_bytes"] > 0
    assert aet.load(told["run"]).report["valid"] == told["valid"]


def test_train_for_people(folder, tmp_path):
    done = call("train", folder / "rows.csv", "--target", "colour", "--out", tmp_path / "run", *SMALL)
    assert "log loss" in done.stdout
    assert str(tmp_path) in done.stdout
    assert "128 rows to train on, 32 held out" in done.stderr


def test_train_says_that_it_replaces_a_finished_run(folder, tmp_path):
    command = ("train", folder / "rows.csv", "--target", "colour", "--out", tmp_path / "run", *SMALL)
    assert "finished run" not in call(*command).stderr
    again = call(*command)
    assert f"{tmp_path / 'run'} holds a finished run, which this one replaces at its end.\n" in again.stderr
    assert call("report", tmp_path / "run").exit_code == 0
    call("stream", tmp_path / "run", folder / "day1.csv", "--save", tmp_path / "run" / "stream")
    again = call(*command)
    assert "What was made from that stays and is not of the new one: report.html, stream.html, stream." in again.stderr
    assert (tmp_path / "run" / "stream" / "record.json").is_file()


def test_train_options_reach_the_run(tmp_path):
    frame = rows(60, 4).assign(name=range(60), heavy=1.5, day=range(60), spare=0.0)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "settings.yaml").write_text("train: {epochs: 9, batch_size: 16}\nmodel: {dim: 8, heads: 2, depth: 1}\n")
    told = answer(
        *("train", tmp_path / "rows.csv", "--target", "colour", "--out", tmp_path / "run", "--seed", 7),
        *(
            "--config",
            tmp_path / "settings.yaml",
            "--set",
            "train.epochs=2",
            "--groups",
            "ab=a:b",
            "--kind",
            "c=category",
        ),
        *("--id", "name", "--weight", "heavy", "--time", "day", "--ignore", "spare", "--header"),
    )
    model, settings = aet.load(told["run"]), Config.read(tmp_path / "run" / "config.yaml")
    assert (settings.seed, settings.train.epochs, settings.train.batch_size, settings.model.dim) == (7, 2, 16, 8)
    assert [(spec.name, spec.kind) for spec in model.schema.inputs] == [("ab", "number"), ("c", "category")]
    assert model.schema.roles == {"id": "name", "time": "day", "weight": "heavy"}
    assert model.schema.ignored == ("spare",)


def test_train_without_header_and_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(60, 5).to_csv("rows.csv", index=False, header=False)
    assert answer("train", "rows.csv", "--target", "c3", "--no-header", *SMALL)["run"] == "runs/c3"
    assert answer("evaluate", "runs/c3", "rows.csv")["rows"] == 60


def test_several_targets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = rows(80, 6).drop(columns="colour").assign(up=lambda f: (f.a > 0) * 1, left=lambda f: (f.b > 0) * 1)
    frame.to_csv("rows.csv", index=False)
    told = answer("train", "rows.csv", "--target", "up", "--target", "left", *SMALL)
    assert (told["run"], told["output"]) == ("runs/up-left", "multilabel")


def test_predict_prints_csv_in_order(folder):
    done = call("predict", folder / "run", folder / "plain.csv")
    printed = pd.read_csv(pd.io.common.StringIO(done.stdout))
    wanted = aet.load(folder / "run").predict(folder / "plain.csv")
    assert printed["id"].tolist() == list(range(80))
    assert printed["prediction"].tolist() == wanted["prediction"].tolist()
    assert "80 rows" in done.stderr


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("answers.csv", pd.read_csv),
        ("answers.parquet", pd.read_parquet),
        ("answers.jsonl", lambda path: pd.read_json(path, lines=True)),
    ],
)
def test_predict_writes_files(folder, tmp_path, name, read):
    frame = rows(40, 7).astype({"a": object})
    frame.loc[3, "a"] = "broken"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    told = answer("predict", folder / "run", tmp_path / "rows.csv", "--out", tmp_path / name, "--proba")
    assert told == {"run": str(folder / "run"), "out": str(tmp_path / name), "rows": 40, "left_out": 1}
    written = read(tmp_path / name)
    wanted = aet.load(folder / "run").predict(tmp_path / "rows.csv", proba=True)
    assert list(written.columns) == list(wanted.columns)
    assert written["prediction"][4:].tolist() == wanted["prediction"][4:].tolist()
    assert np.allclose(written["p_red"], wanted["p_red"], equal_nan=True, atol=1e-6)
    assert "broken" in written["problem"][3]
    assert pd.isna(written["prediction"][3])
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_parquet_keeps_its_types_over_pieces(folder, tmp_path, monkeypatch):
    from aet.commands import answers

    model = aet.load(folder / "run")
    frame = rows(30, 8).astype({"a": object})
    frame.loc[25, "a"] = "broken"  # the first piece has no problem, the last one has
    pieces = [frame.iloc[:10], frame.iloc[10:20], frame.iloc[20:]]
    answered = (model.predict(piece.reset_index(drop=True)) for piece in pieces)
    answers.write_answers(answered, tmp_path / "new" / "answers.parquet", model)
    written = pd.read_parquet(tmp_path / "new" / "answers.parquet")
    assert written["problem"].notna().tolist() == [row == 25 for row in range(30)]


def test_predict_answers_one_object(folder, tmp_path):
    frame = rows(5, 9).astype({"a": object})
    frame.loc[1, "a"] = "broken"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    told = answer("predict", folder / "run", tmp_path / "rows.csv")
    assert (told["rows"], told["left_out"], len(told["answers"])) == (5, 1, 5)
    assert told["answers"][1]["confidence"] is None
    assert told["answers"][0]["prediction"] in ("red", "blue")


def test_predict_leaves_no_half_file(folder, tmp_path):
    frame = rows(9000, 10)
    (tmp_path / "cut.csv").write_text(frame.to_csv(index=False) + "1,2\n")  # wrong in the second piece
    error = failure("predict", folder / "run", tmp_path / "cut.csv", "--out", tmp_path / "answers.csv")
    assert (error["kind"], "9002" in error["message"]) == ("DataError", True)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.csv"]


def test_evaluate(folder):
    told = answer("evaluate", folder / "run", folder / "day1.csv")
    assert told["rows"] == 150
    assert told["accuracy"] == aet.load(folder / "run").evaluate(folder / "day1.csv")["accuracy"]
    done = call("evaluate", folder / "run", folder / "day1.csv")
    assert "accuracy" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["train", "{}/rows.cvs", "--target", "colour"], "DataError", "rows.csv"),
        (["train", "{}/rows.csv", "--target", "color"], "SchemaError", "Did you mean 'colour'"),
        (["train", "{}/rows.csv", "--target", "colour", "--set", "train.epoch=4"], "ConfigError", "'epochs'"),
        (["train", "{}/rows.csv", "--target", "colour", "--set", "train.epochs"], "ConfigError", "name=value"),
        (
            ["train", "{}/rows.csv", "--target", "colour", "--set", "seed=1", "--set", "seed.of=1"],
            "ConfigError",
            "seed",
        ),
        (["train", "{}/rows.csv", "--target", "colour", "--kind", "a=txt"], "SchemaError", "'text'"),
        (["train", "{}/rows.csv", "--target", "colour", "--groups", "g=a:z"], "SchemaError", "'z'"),
        (["train", "{}/rows.csv", "--target", "colour", "--out", "{}/rows.csv"], "RunError", "rows.csv"),
        (["train", "{}/rows.csv", "--target", "colour", "--config", "{}/no.yaml"], "ConfigError", "no.yaml"),
        (["predict", "{}/nothing", "{}/rows.csv"], "RunError", "aet train --out"),
        (["predict", "{}/run", "{}/rows.csv", "--out", "{}/answers.xlsx"], "ConfigError", ".parquet"),
        (["predict", "{}/run", "{}/rows.csv", "--out", "{}/rows.csv/answers.csv"], "FileExistsError", "Check that"),
        (["evaluate", "{}/run", "{}/plain.csv"], "SchemaError", "'colour'"),
        (["stream", "{}/run", "{}/day1.csv", "--guard", "earnd"], "ConfigError", "Did you mean 'earned'"),
        (["stream", "{}/run", "{}/day1.csv", "--adapt", "tend"], "ConfigError", "Did you mean 'tent'"),
        (["stream", "{}/run", "{}/day1.csv", "--compare-methods", "alin"], "ConfigError", "Did you mean 'align'"),
        (["stream", "{}/run", "{}/run/metrics.jsonl"], "SchemaError", "metrics.jsonl"),
        (["report", "{}/run", "--stream", "{}/run"], "RunError", "stream.json"),
        (["report", "{}/run", "--out", "{}/run"], "ConfigError", "folder"),
        (["demo", "digit"], "ConfigError", "Did you mean 'digits'"),
    ],
)
def test_errors_say_how_to_mend(folder, arguments, kind, words):
    error = failure(*(argument.replace("{}", str(folder)) for argument in arguments))
    assert error["kind"] == kind
    assert words in error["message"]


def test_errors_are_red(folder):
    done = call("predict", folder / "nothing", folder / "rows.csv", color=True)
    assert done.stderr.startswith("\x1b[31m")


def test_warnings_are_notes(folder, tmp_path):
    rows(60, 13).assign(key=[f"k{i}" for i in range(60)]).to_csv(tmp_path / "rows.csv", index=False)
    done = call("train", tmp_path / "rows.csv", "--target", "colour", "--out", tmp_path / "run", *SMALL, "--json")
    assert "Note: Column 'key' is left out" in done.stderr
    assert json.loads(done.stdout)["rows"] == 48


def test_interrupted_training_says_how_to_go_on(folder, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("aet.training.train.train_on", interrupted)
    monkeypatch.setattr("aet.train", aet.train, raising=False)
    done = call("train", folder / "rows.csv", "--target", "colour", "--out", tmp_path / "run", "--json")
    assert done.exit_code == 130
    assert json.loads(done.stdout)["error"]["kind"] == "Interrupted"
    assert "The same command goes on" in done.stderr
    assert str(tmp_path / "run") in done.stderr


def test_switches_are_listed():
    listed = {entry["name"]: entry for entry in answer("switches")["switches"]}
    assert listed["sam"]["settings"] == {"rho": 0.05}
    assert "Sharpness-aware" in listed["sam"]["does"]
    assert "label_smoothing" in call("switches").stdout


def test_switches_are_turned_on_and_compared(folder):
    given = ("train", folder / "rows.csv", "--target", "colour", *SMALL, "--switch", "ema:decay=0.5")
    found = answer(*given, "--compare", "--out", folder / "compared")
    assert found["switches"][0]["settings"] == {"decay": 0.5}
    assert [entry["part"] for entry in found["worth"]] == ["ema"]
    done = call(*given, "--switch", "sam", "--compare", "--out", folder / "compared")
    assert "gain under drift" in done.stdout
    assert "On: sam" in done.stderr


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["emma"], "Did you mean 'ema'"),
        (["ema:decai=0.5"], "Did you mean 'decay'"),
        (["ema:0.5"], "takes name=value"),
        (["ema", "ema:decay=0.5"], "names 'ema' twice"),
        (["ema:decay=["], "no YAML|not a YAML"),
    ],
)
def test_switches_that_cannot_be(folder, given, sentence):
    options = [word for text in given for word in ("--switch", text)]
    done = call("train", folder / "rows.csv", "--target", "colour", "--out", folder / "never", *options)
    assert done.exit_code == 2
    assert re.search(sentence, done.stderr)


def test_a_search(folder):
    given = ("tune", folder / "rows.csv", "--target", "colour", "--out", folder / "tuned", "--trials", "2", *SMALL)
    found = answer(*given, "--switch", "ema")
    assert found["score"] == "accuracy"
    assert len(found["trials"]) == 2
    done = call(*given, "--switch", "ema")
    assert "2 trials" in done.stdout
    assert "aet train" in done.stdout
    used = call("train", folder / "rows.csv", "--config", folder / "tuned" / "best.yaml", "--out", folder / "best")
    assert used.exit_code == 0, used.stderr


@pytest.mark.parametrize("verb", ["train", "tune", "switches", "predict", "evaluate", "stream", "report", "demo"])
def test_help_has_an_example(verb):
    done = call(verb, "--help")
    assert done.exit_code == 0
    assert f"Example: aet {verb} " in done.stdout
    assert "--json" in done.stdout


def test_version():
    assert call("--version").stdout == f"{aet.__version__}\n"

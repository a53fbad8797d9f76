"""Every verb of the command, end to end on small data: what it prints where, what it writes, how it fails."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import aet
from aet.cli import app
from aet.config import Config

SMALL = ["--set", "model.dim=16", "--set", "model.depth=1", "--set", "model.heads=2", "--set", "train.epochs=4"]


def rows(count: int, seed: int, gain: float = 1.0) -> pd.DataFrame:
    x = np.random.default_rng(seed).normal(size=(count, 3))
    frame = pd.DataFrame(gain * x, columns=["a", "b", "c"]).round(4)
    frame["colour"] = np.where(x[:, 0] + x[:, 1] > 0, "red", "blue")
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tables and a trained run."""
    made = tmp_path_factory.mktemp("cli")
    rows(160, 0).to_csv(made / "rows.csv", index=False)
    rows(150, 1).to_csv(made / "day1.csv", index=False)
    rows(150, 2, gain=3.0).to_csv(made / "day2.csv", index=False)
    rows(80, 3).drop(columns="colour").to_csv(made / "plain.csv", index=False)
    done = call("train", made / "rows.csv", "--target", "colour", "--out", made / "run", *SMALL)
    assert done.exit_code == 0, done.stderr
    return made


def call(*arguments, **more):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **more)


def answer(*arguments):
    """The JSON object of a command that did its work; nothing else is on standard output."""
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def failure(*arguments):
    """The message of a command that failed, the same on standard error and, with --json, in its object."""
    plain, told = call(*arguments), call(*arguments, "--json")
    assert (plain.exit_code, told.exit_code, plain.stdout) == (2, 2, "")
    error = json.loads(told.stdout)["error"]
    assert error["message"] in plain.stderr
    assert "Traceback" not in plain.stderr
    return error


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
    assert f"{tmp_path / 'run'} holds a finished run: this one replaces it.\n" in again.stderr
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


def test_stream_table_and_report(folder, tmp_path):
    done = call(
        *("stream", folder / "run", folder / "day1.csv", folder / "day2.csv", "--labels", 8, "--delay", 16),
        *("--compare-methods", "restandardise,prior", "--report", tmp_path / "report.html"),
    )
    assert done.exit_code == 0, done.stderr
    for word in (
        "day1.csv",
        "day2.csv",
        "whole stream",
        "proposal",
        "prior",
        "Guard earned",
        "Harm over the whole",
        "Estimated",
    ):
        assert word in done.stdout
    assert "<html" in (tmp_path / "report.html").read_text()


def test_the_report_of_a_stream_leaves_the_one_of_the_training(folder):
    training = answer("report", folder / "run")["report"]
    told = answer("stream", folder / "run", folder / "day1.csv", "--labels", 0)
    assert told["report"] == str(folder / "run" / "stream.html")
    assert "day1" not in (folder / "run" / "report.html").read_text()
    assert training == str(folder / "run" / "report.html")


def test_a_regression_is_streamed_on_one_scale(tmp_path):
    rows(120, 14).assign(price=lambda f: f.a - f.b).drop(columns="colour").to_csv(tmp_path / "rows.csv", index=False)
    trained = answer("train", tmp_path / "rows.csv", "--target", "price", "--out", tmp_path / "run", *SMALL)
    told = answer("stream", tmp_path / "run", tmp_path / "rows.csv", "--labels", 0)
    assert (trained["metric"], told["metric"]) == ("r2", "closeness")
    evaluated = answer("evaluate", tmp_path / "run", tmp_path / "rows.csv")
    assert told["summary"]["source"] == pytest.approx(evaluated["closeness"], abs=1e-6)
    done = call("stream", tmp_path / "run", tmp_path / "rows.csv", "--labels", 0)
    assert "closeness in % (100 where right" in done.stdout
    assert "in its worst 120 rows" in done.stdout


def test_stream_answers_one_object_and_saves(folder, tmp_path):
    told = answer(
        *("stream", folder / "run", folder / "day1.csv", folder / "plain.csv", folder / "day2.csv"),
        *("--labels", 8, "--delay", 16, "--guard", "always", "--save", tmp_path / "kept"),
        *("--report", tmp_path / "report.html"),
    )
    first, unknown, last = told["parts"]
    assert [first["rows"], unknown["rows"], last["rows"]] == [150, 80, 150]
    assert 0 < first["labels"] <= 8
    assert 0 < last["labels"] <= 8
    assert unknown["labels"] == 0
    assert (unknown["source"], unknown["harm"]) == (None, None)
    assert last["served"] == last["proposal"]
    assert first["harm"] == pytest.approx(100 * (first["source"] - first["served"]))
    assert told["guard"]["serving"] is True
    point = told["estimates"]["points"][0]
    assert point["served"]["low"] < point["served"]["value"] < point["served"]["high"]
    assert point["truth"]["served"]["rows"] == 150  # the rows of the second part have no true answer
    stream = aet.adaptation.stream.Stream.load(aet.load(folder / "run"), tmp_path / "kept")
    assert (stream.rows, stream.labels) == (380, first["labels"] + last["labels"])

    again = answer("report", folder / "run", "--stream", tmp_path / "kept")
    page = (tmp_path / "kept" / "report.html").read_text()
    assert again["report"] == str(tmp_path / "kept" / "report.html")
    assert page == (tmp_path / "report.html").read_text()
    stream.save(tmp_path / "other")
    (tmp_path / "other" / "record.json").write_text((tmp_path / "kept" / "record.json").read_text())
    stream.predict(folder / "plain.csv")
    stream.save(tmp_path / "other")
    answer("report", folder / "run", "--stream", tmp_path / "other")
    assert "460" in (tmp_path / "other" / "report.html").read_text(), "the record of before it went on is gone"
    (tmp_path / "kept" / "record.json").unlink()
    answer("report", folder / "run", "--stream", tmp_path / "kept", "--out", tmp_path / "state.html")
    assert "guard always" in (tmp_path / "state.html").read_text()


def test_stream_counts_rows_of_an_unknown_class(folder, tmp_path):
    frame = rows(100, 11)
    frame.loc[::10, "colour"] = "green"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    told = answer("stream", folder / "run", tmp_path / "rows.csv", "--report", tmp_path / "report.html")
    assert told["stream"]["rows"] == 100
    assert told["stream"]["labels"] <= 16
    done = call("stream", folder / "run", tmp_path / "rows.csv", "--report", tmp_path / "report.html")
    assert "10 rows have true answers that the model does not know and count as wrong." in done.stdout


def test_streams_of_one_seed_are_the_same(folder, tmp_path):
    def told(seed):
        read = answer(
            *("stream", folder / "run", folder / "day2.csv", "--seed", seed, "--report", tmp_path / "report.html")
        )
        return read["parts"], read["guard"]

    assert told(3) == told(3)


def test_files_of_one_name_are_told_apart(folder, tmp_path):
    rows(70, 12).to_csv(tmp_path / "day1.csv", index=False)
    told = answer(
        *("stream", folder / "run", folder / "day1.csv", tmp_path / "day1.csv", "--report", tmp_path / "report.html")
    )
    assert [part["name"] for part in told["parts"]] == [str(folder / "day1.csv"), str(tmp_path / "day1.csv")]


def test_report_of_training(folder):
    told = answer("report", folder / "run")
    assert told["report"] == str(folder / "run" / "report.html")
    assert "colour" in (folder / "run" / "report.html").read_text()


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

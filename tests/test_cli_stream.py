"""`aet stream` and `aet report`: what they print where, what they write."""

from __future__ import annotations

import pytest

import aet

from .commands import SMALL, answer, call, rows, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("cli"))


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


@pytest.mark.parametrize("option", ["--report", "--save"])
def test_a_path_that_cannot_be_written_is_said_before_the_replay(folder, tmp_path, monkeypatch, option):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("aet.replay", lambda *given, **settings: pytest.fail("replayed"))
    done = call("stream", folder / "run", folder / "day1.csv", option, tmp_path / "file" / "x.html")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr

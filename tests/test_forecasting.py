"""Forecasts from the table to the stream: trained, saved, served, corrected by truths that come late."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import aet
from aet.cli import app
from aet.errors import ConfigError, FeedbackError

from .made import quick

HOURS, AHEAD = 500, 6
CUT = {"lookback": 24, "horizon": AHEAD, "every": 2, "calendar": False}


def plant(rows=HOURS, shift=0.0, seed=0):
    h = np.arange(rows)
    load = 50 + 10 * np.sin(2 * np.pi * h / 12) + np.random.default_rng(seed).normal(0, 1, rows) + shift
    return pd.DataFrame({"when": pd.date_range("2024-01-01", periods=rows, freq="h"), "load": load})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "plant"
    model = aet.train(plant(), target="load", time="when", windows=CUT, out=folder, config=quick(epochs=2))
    return folder, model


def test_a_table_of_measurements_is_trained_on_and_forecast_from(run):
    folder, model = run
    answers = aet.load(folder).predict(plant())
    assert answers["id"].tolist() == ["load 2024-01-21 19:00:00"]
    h = np.arange(HOURS, HOURS + AHEAD)
    assert np.abs(np.array(answers["prediction"][0]) - 50 - 10 * np.sin(2 * np.pi * h / 12)).mean() < 2.5
    figures = model.evaluate(plant(seed=1))
    assert figures["rows"] == len(aet.windows(plant(), time="when", **CUT))
    assert figures["skill"] > 0


def test_windows_that_are_cut_already_are_taken_as_they_are(run):
    _, model = run
    rows = aet.windows(plant(60, seed=1), time="when", **CUT)
    assert model.predict(rows)["id"].tolist() == rows["id"].tolist()


def test_bad_windows_have_a_problem_and_the_rest_an_answer(run):
    _, model = run
    rows = aet.windows(plant(60, seed=1), time="when", **CUT).head(3)
    rows["history"] = rows["history"].map(list)
    rows.at[1, "history"] = "high"
    answers = model.predict(rows)
    assert answers["prediction"].isna().tolist() == [False, True, False]
    assert answers["problem"][1] == "row 2, column 'history': expected a list of numbers, got 'high'"


def test_truths_come_late_and_no_served_forecast_changes(run):
    _, model = run
    rows = aet.windows(plant(300, shift=8.0, seed=2), time="when", **CUT)
    worse = rows.assign(future=[cell + 6.0 for cell in rows["future"]])  # a step that the past does not show
    stream = model.stream(adapt="rls", guard="always")
    served, errors = [], []
    for start in range(0, len(worse), 10):
        if start >= 20:  # the futures of ten rows before are known by now
            known = worse.iloc[start - 20 : start - 10]
            stream.feedback(known["id"], known["future"].tolist())
        answers = stream.predict(worse.iloc[start : start + 10].drop(columns="future"))
        served.append((answers, answers.copy(deep=True)))
        truth = np.stack(worse["future"].iloc[start : start + 10])
        errors.append(float(np.abs(np.stack(answers["prediction"]) - truth).mean()))
    for answers, before in served:
        pd.testing.assert_frame_equal(answers, before)
    assert errors[-1] < 0.5 * errors[0]
    assert set(served[-1][0]["served_by"]) == {"proposal"}
    stream.reset()
    assert stream.state.size() == 0


def test_a_future_of_another_length_is_refused_and_changes_nothing(run):
    _, model = run
    stream = model.stream(adapt="rls")
    rows = aet.windows(plant(60, seed=1), time="when", **CUT)
    stream.predict(rows.drop(columns="future"))
    with pytest.raises(FeedbackError, match=f"lists of {AHEAD} finite numbers"):
        stream.feedback(rows["id"][:2], [rows["future"][0], rows["future"][1][:2]])
    assert stream.labels == 0
    stream.feedback(rows["id"][:2], list(rows["future"][:2]))
    assert stream.labels == 2


def test_a_stream_is_taken_up_again(run, tmp_path):
    from aet.adaptation.stream import Stream

    _, model = run
    rows = aet.windows(plant(80, seed=3), time="when", **CUT)
    stream = model.stream(adapt="rls", guard="always")
    stream.predict(rows.drop(columns="future"))
    stream.feedback(rows["id"][:9], list(rows["future"][:9]))
    again = Stream.load(model, stream.save(tmp_path / "s", rows=True))
    assert again.state.equal(stream.state)
    assert again.predict(rows.tail(2).assign(id=["a", "b"]))["prediction"].tolist() == (
        stream.predict(rows.tail(2).assign(id=["a", "b"]))["prediction"].tolist()
    )
    page = stream.report(tmp_path / "stream.html").read_text(encoding="utf-8")
    assert "level of history" in page


def test_the_command_line_forecasts(run, tmp_path):
    folder, _ = run
    plant(90).to_csv(tmp_path / "plant.csv", index=False)
    for name in ("out.csv", "out.parquet", "out.jsonl"):
        done = CliRunner().invoke(
            app, ["predict", str(folder), str(tmp_path / "plant.csv"), "--out", str(tmp_path / name)]
        )
        assert done.exit_code == 0, done.output
    from aet.cells.series import numbers
    from aet.tables import read_table

    said = [numbers(read_table(tmp_path / name)["prediction"][0]) for name in ("out.csv", "out.parquet", "out.jsonl")]
    assert all(one is not None and len(one) == AHEAD for one in said)
    np.testing.assert_allclose(said[0], said[2])


def test_settings_of_windows_are_checked():
    with pytest.raises(ConfigError, match=r"data\.windows has no 'look_back'. Did you mean 'lookback'"):
        aet.train(plant(), target="load", time="when", windows={"look_back": 3})
    with pytest.raises(ConfigError, match="expected the column of times"):
        aet.train(plant(), target="load", windows=CUT)


@pytest.mark.parametrize("level", [True, False])
def test_the_default_stream_takes_forecasts_with_and_without_dials_of_the_input(level):
    config = {**quick(epochs=1), "inputs": {"series": {"level": level}}}
    model = aet.train(plant(200), target="load", time="when", windows=CUT, config=config)
    assert any(name.startswith("inputs.") for name in model.stream().state) == level
    rows = aet.windows(plant(80, seed=3), time="when", **CUT)
    stream = model.stream()
    stream.predict(rows.drop(columns="future"))
    stream.feedback(rows["id"][:9], list(rows["future"][:9]), at_random=True)
    assert stream.state.size() > 0


def test_de_stationary_attention_reads_level_and_size():
    config = {**quick(epochs=2, attention={"destationary": {}}), "inputs": {"series": {"level": True}}}
    model = aet.train(plant(), target="load", time="when", windows=CUT, config=config)
    assert "destationary" in model.attention_acted()
    assert model.evaluate(plant(seed=1))["skill"] > -1

"""Tables of measurements as windows: what is cut, what is left out, and what is wrong with times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import aet
from aet.errors import ConfigError, DataError, SchemaError
from aet.series_windows import WindowWarning
from aet.training.split import split

from .made import quick


def hourly(rows=60, **columns):
    return pd.DataFrame(
        {"t": pd.date_range("2024-03-01", periods=rows, freq="h"), "x": np.arange(float(rows)), **columns}
    )


def cut(table, **more):
    return aet.windows(table, **{"time": "t", "lookback": 6, "horizon": 3, "calendar": False, **more})


def lists(rows, name="history"):
    return [cell.tolist() for cell in rows[name]]


def test_a_window_is_the_past_and_what_followed():
    rows = cut(hourly(12))
    assert len(rows) == 4
    assert list(rows) == ["id", "time", "until", "history", "future"]
    assert lists(rows)[0] == [0, 1, 2, 3, 4, 5]
    assert lists(rows, "future")[0] == [6, 7, 8]
    assert rows["id"][0] == "x 2024-03-01 05:00:00"
    assert (rows["until"] - rows["time"]).unique() == [pd.Timedelta(hours=3)]


def test_every_leaves_steps_out_and_keeps_the_newest():
    rows = cut(hourly(20), every=3)
    assert [cell[-1] for cell in rows["history"]] == [7, 10, 13, 16]


def test_wide_tables_hold_a_series_a_column():
    rows = cut(hourly(12, y=-np.arange(12.0), name="a"))
    assert sorted(rows["series"].unique()) == ["x", "y"]
    assert rows["time"].is_monotonic_increasing
    assert cut(hourly(12, y=0.5), columns="x").equals(cut(hourly(12)))


def test_long_tables_name_the_series_of_each_row():
    long = pd.concat([hourly(12, station="north"), hourly(15, station="south")])
    rows = cut(long.sample(frac=1, random_state=0), series="station")
    assert rows["series"].value_counts().to_dict() == {"south": 7, "north": 4}
    assert rows.loc[rows["series"] == "north", "id"].iloc[0] == "north 2024-03-01 05:00:00"


def test_unsorted_times_are_put_in_order():
    table = hourly(14)
    assert cut(table.sample(frac=1, random_state=3)).equals(cut(table))


def test_gaps_are_missing_values():
    rows = cut(hourly(14).drop(index=[4]))
    np.testing.assert_array_equal(rows["history"][0], [0, 1, 2, 3, np.nan, 5])


def test_windows_without_a_value_are_left_out():
    table = hourly(40)
    table.loc[10:25, "x"] = np.nan
    rows = cut(table)
    assert all(
        np.isfinite(h).any() and np.isfinite(f).any() for h, f in zip(rows["history"], rows["future"], strict=True)
    )
    assert len(rows) < len(cut(hourly(40)))


def test_a_series_shorter_than_the_look_back_gives_its_last_window():
    rows = cut(hourly(7))
    assert lists(rows) == [[0, 1, 2, 3]]
    assert lists(rows, "future") == [[4, 5, 6]]


def test_a_series_no_longer_than_the_horizon_is_left_out_aloud():
    long = pd.concat([hourly(3, station="short"), hourly(12, station="long")])
    with pytest.warns(WindowWarning, match="1 series have no window .'short'"):
        assert cut(long, series="station")["id"].str.startswith("long").all()
    with pytest.raises(DataError, match="expected more than 3 values"):
        cut(hourly(3))


def test_ahead_is_the_newest_window_without_a_future():
    rows = cut(hourly(12, warm=np.arange(12.0)), columns="x", known="warm", ahead=True)
    assert lists(rows) == [[6, 7, 8, 9, 10, 11]]
    assert "future" not in rows
    np.testing.assert_array_equal(rows["warm"][0], [6, 7, 8, 9, 10, 11, np.nan, np.nan, np.nan])


def test_what_is_known_ahead_spans_past_and_future():
    rows = cut(hourly(12, price=np.arange(12.0) * 10), columns="x", known=["price"])
    assert lists(rows, "price")[1] == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_the_calendar_is_that_of_the_rows_time():
    rows = cut(hourly(12), calendar=True)
    assert rows.loc[0, ["hour", "weekday", "month"]].tolist() == ["05 h", "Fri", "Mar"]
    days = pd.DataFrame({"t": pd.date_range("2024-03-01", periods=20), "x": 1.0})
    assert "hour" not in cut(days, calendar=True)


def test_numbers_are_times_too_and_have_no_calendar():
    rows = cut(pd.DataFrame({"t": np.arange(5, 65, 5), "x": np.arange(12.0)}), calendar=True)
    assert rows["time"].tolist() == [30, 35, 40, 45]
    assert rows["until"].tolist() == [45, 50, 55, 60]


@pytest.mark.parametrize("freq", ["MS", "ME"])
def test_months_are_steps_of_their_own(freq):
    table = pd.DataFrame({"t": pd.date_range("2020-01-01", periods=24, freq=freq), "x": np.arange(24.0)})
    rows = cut(table.drop(index=7))
    assert rows["until"].iloc[-1] == table["t"].iloc[-1]
    assert np.isnan(rows["history"][2]).sum() == 1


def test_a_time_given_twice_is_named():
    table = pd.concat([hourly(12), hourly(1)], ignore_index=True)
    with pytest.raises(
        DataError, match=r"2024-03-01 00:00:00 stands in the rows 1 and 13 .such times: 1.*series='...'"
    ):
        cut(table)


def test_times_with_and_without_a_zone_do_not_mix():
    table = hourly(12).assign(t=lambda f: f["t"].astype(str))
    table.loc[3, "t"] = "2024-03-01 05:00:00+02:00"
    with pytest.raises(DataError, match=r"mixes times with a zone .row 4.* and without one .row 1"):
        cut(table)


def test_times_of_several_zones_count_as_instants():
    table = hourly(12).assign(t=lambda f: f["t"].astype(str) + "Z")
    table.loc[3, "t"] = "2024-03-01 05:00:00+02:00"
    assert lists(cut(table)) == lists(cut(hourly(12)))


def test_an_irregular_step_is_refused_with_the_mend():
    table = hourly(30)
    table.loc[5, "t"] += pd.Timedelta(minutes=17)
    with pytest.raises(DataError, match=r"keep no regular step: most are 0 days 01:00:00 apart.*row 6.*resample"):
        cut(table)


def test_times_that_are_none_are_named():
    with pytest.raises(DataError, match=r"row 3, column 't': expected a number or a date"):
        cut(hourly(9).assign(t=lambda f: f["t"].astype(str).where(f.index != 2, "soon")))
    with pytest.raises(DataError, match="row 3, column 't': expected a time, got none"):
        cut(hourly(9).assign(t=lambda f: f["t"].where(f.index != 2)))
    with pytest.raises(DataError, match="holds one time"):
        cut(hourly(9).assign(t=4))


def test_wrong_arguments_are_errors_with_the_mend():
    with pytest.raises(SchemaError, match=r"no column 'tt'.*Did you mean 't'"):
        cut(hourly(9), time="tt")
    with pytest.raises(ConfigError, match="horizon counts values: expected a whole number of 1 or more, got 0"):
        cut(hourly(9), horizon=0)
    with pytest.raises(DataError, match="no column of numbers to forecast"):
        cut(hourly(9)[["t"]].assign(name="a"))
    with pytest.raises(DataError, match="row 2, column 'x': expected a number, got 'high'"):
        cut(hourly(9).assign(x=[1, "high", *range(7)]), columns="x")


def test_no_training_window_reaches_into_what_is_held_out():
    rows = cut(hourly(80))
    schema = aet.train(rows, target="future", time="time", until="until", id="id", config=quick(epochs=1)).schema
    trained, held = split(rows, schema, 0.2, 0)
    first = rows["time"].iloc[held].min()
    assert (rows["until"].iloc[trained] <= first).all()
    assert (rows["until"].iloc[np.setdiff1d(np.arange(len(rows)), [*trained, *held])] > first).all()
    with pytest.raises(DataError, match=r"No row to train on was answered .'until'. before the first row"):
        split(rows, schema, 0.97, 0)

"""Which rows are held out: shares, classes, times and groups."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aet.errors import DataError
from aet.schema import InputSpec, Schema
from aet.training.split import SplitWarning, split


def schema(output="number", targets=("y",), **roles):
    return Schema((InputSpec("x", "number", ("x",)),), targets, output, **roles)


def table(rows, **columns):
    return pd.DataFrame({"x": np.arange(rows, dtype=float), "y": np.arange(rows, dtype=float), **columns})


shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 50)


@given(st.integers(4, 200), shares, seeds)
@settings(deadline=None)
def test_every_row_is_on_one_side_and_neither_is_empty(rows, share, seed):
    train, valid = split(table(rows), schema(), share, seed)
    assert sorted([*train, *valid]) == list(range(rows))
    assert len(train)
    assert len(valid)
    assert abs(len(valid) - share * rows) <= 1
    again = split(table(rows), schema(), share, seed)
    assert all(np.array_equal(a, b) for a, b in zip((train, valid), again, strict=True))


def test_another_seed_holds_out_other_rows():
    assert split(table(100), schema(), 0.2, 0)[1].tolist() != split(table(100), schema(), 0.2, 1)[1].tolist()


@given(st.lists(st.integers(0, 30), min_size=4, max_size=60), shares)
@settings(deadline=None)
def test_no_held_row_is_earlier_than_a_training_row(times, share):
    train, valid = split(table(len(times), t=times), schema(time="t"), share, 0)
    assert max(times[i] for i in train) <= min(times[i] for i in valid)
    assert len(train) + len(valid) == len(times)


DATES = pd.date_range("2023-12-28", periods=10, freq="D")


@pytest.mark.parametrize(
    "times",
    [
        DATES,
        DATES.strftime("%Y-%m-%d"),
        DATES.strftime("%Y-%m-%dT%H:%M:%S"),
        DATES.tz_localize("Europe/Oslo"),
        pd.Index([str(9 + i) for i in range(10)]),  # texts: 9, 10, 11 are in order as numbers only
        DATES - DATES[0],
    ],
)
def test_times_of_every_way_of_writing_are_put_in_order(times):
    order = np.random.default_rng(0).permutation(10)
    frame = table(10, t=times[order])
    assert sorted(order[split(frame, schema(time="t"), 0.3, 0)[1]]) == [7, 8, 9]


def test_rows_without_a_time_are_trained_on():
    frame = table(6, t=[3.0, np.nan, 1.0, 5.0, None, 4.0])
    assert split(frame, schema(time="t"), 0.4, 0)[1].tolist() == [3, 5]


def test_times_that_cannot_be_read_are_an_error_with_the_mend():
    frame = table(4, t=["2024-01-01", "soon", "2024-01-02", "2024-01-03"])
    with pytest.raises(DataError, match=r"The time column 't' cannot be put in order: .* got 'soon'. Write it"):
        split(frame, schema(time="t"), 0.2, 0)


@given(st.lists(st.sampled_from("abcdefg"), min_size=4, max_size=60), shares, seeds)
@settings(deadline=None)
def test_no_group_is_on_both_sides(groups, share, seed):
    assume(len(set(groups)) > 1)
    train, valid = split(table(len(groups), g=groups), schema(group="g"), share, seed)
    assert not {groups[i] for i in train} & {groups[i] for i in valid}
    assert len(train) + len(valid) == len(groups)
    assert len(train)
    assert len(valid)


@pytest.mark.parametrize("seed", range(8))
def test_a_large_group_does_not_swallow_the_training_rows(seed):
    groups = ["large"] * 900 + [f"small{i // 10}" for i in range(100)]
    _, valid = split(table(1000, g=groups), schema(group="g"), 0.08, seed)
    assert 70 <= len(valid) <= 90


def test_rows_without_a_group_stay_together():
    groups = pd.Series(["a", None, "b", np.nan, "a", "b"], dtype=object)
    for seed in range(5):
        _, valid = split(table(6, g=groups), schema(group="g"), 0.3, seed)
        assert valid.tolist() in ([0, 4], [1, 3], [2, 5])


def test_one_group_cannot_be_held_out():
    with pytest.raises(DataError, match="The group column 'g' has one group: expected two or more"):
        split(table(8, g=["a"] * 8), schema(group="g"), 0.2, 0)


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 30)), min_size=4, max_size=60), shares)
@settings(deadline=None)
def test_with_time_and_group_no_group_is_on_both_sides_and_none_ends_later_than_a_held_one(rows, share):
    groups, times = zip(*rows, strict=True)
    assume(len(set(groups)) > 1)
    frame = table(len(rows), g=groups, t=times)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SplitWarning)
        train, valid = split(frame, schema(time="t", group="g"), share, 0)
    assert not {groups[i] for i in train} & {groups[i] for i in valid}
    assert len(train) + len(valid) == len(rows)
    assert len(train)
    assert len(valid)
    ends = {name: max(t for g, t in rows if g == name) for name in groups}
    assert max(times[i] for i in train) <= min(ends[groups[i]] for i in valid)


def test_with_time_and_group_the_share_is_met_as_nearly_as_whole_groups_allow():
    groups = np.repeat(list("abcdefghij"), 10)
    frame = table(100, g=groups, t=np.arange(100)).sample(frac=1, random_state=0, ignore_index=True)
    for share, held in ((0.05, "j"), (0.2, "ij"), (0.26, "hij"), (0.99, "bcdefghij")):
        _, valid = split(frame, schema(time="t", group="g"), share, 0)
        assert sorted(set(frame["g"].iloc[valid])) == list(held)


def test_groups_without_times_are_trained_on():
    frame = table(6, g=list("aabbcc"), t=[1.0, 2.0, None, None, None, 3.0])
    assert split(frame, schema(time="t", group="g"), 0.3, 0)[1].tolist() == [4, 5]


def test_a_large_group_that_ends_latest_is_held_out_with_a_warning():
    frame = table(100, g=["a"] * 10 + ["b"] * 90, t=range(100))
    with pytest.warns(SplitWarning, match=r"90 of 100 rows are held out instead of 20: a group of 'g'"):
        train, _ = split(frame, schema(time="t", group="g"), 0.2, 0)
    assert train.tolist() == list(range(10))
    with pytest.raises(DataError, match="The group column 'g' has one group"):
        split(frame[10:], schema(time="t", group="g"), 0.2, 0)


@given(st.lists(st.sampled_from("abc"), min_size=8, max_size=80), st.floats(0.05, 0.6), seeds)
@settings(deadline=None)
def test_every_held_class_is_trained_on_and_in_its_share(labels, share, seed):
    assume(max(labels.count(c) for c in set(labels)) > 1)
    frame = table(len(labels)).assign(y=labels)
    train, valid = split(frame, schema("label"), share, seed)
    assert {labels[i] for i in valid} <= {labels[i] for i in train} == set(labels)
    for name in set(labels):
        held = sum(labels[i] == name for i in valid)
        assert abs(held - share * labels.count(name)) <= 1


@pytest.mark.parametrize("role", ["time", "group"])
def test_held_classes_that_no_training_row_has_are_left_out_and_named(role):
    frame = table(20).assign(y=["a", "b"] * 8 + ["a", "new", "b", "new"], t=range(20), g=["one"] * 16 + ["two"] * 4)
    column = "t" if role == "time" else "g"
    with pytest.warns(SplitWarning, match=r"The classes new of the target 'y' are only among the held-out rows"):
        train, valid = split(frame, schema("label", **{role: column}), 0.2, 0)
    assert valid.tolist() == [16, 18]
    assert len(train) == 16


def test_nothing_but_new_classes_is_an_error():
    frame = table(10).assign(y=["a"] * 4 + ["b"] * 4 + ["new"] * 2, t=range(10))
    with pytest.raises(DataError, match="only among the held-out rows"):
        split(frame, schema("label", time="t"), 0.2, 0)


@given(st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_a_rare_tag_is_never_held_out_altogether(seed):
    rng = np.random.default_rng(seed)
    frame = table(40).assign(rare=0, common=rng.integers(0, 2, 40))
    frame.loc[rng.integers(40), "rare"] = 1
    train, valid = split(frame, schema("multilabel", ("rare", "common")), 0.3, seed)
    assert frame["rare"].iloc[train].sum() == 1
    assert frame["common"].iloc[train].nunique() == 2
    assert len(valid) == 12


def test_a_column_of_other_values_is_no_part():
    frame = table(8).assign(part=["red"] * 3 + ["train"] * 3 + ["valid"] * 2)
    with pytest.raises(DataError, match=r"neither in 3 of 8 rows \('red'\). Leave those rows out"):
        split(frame, schema(part="part"), 0.2, 0)
    with pytest.raises(DataError, match=r"in 8 of 8 rows \(0, 1, 2, ...\). Name another column"):
        split(frame.assign(part=range(8)), schema(part="part"), 0.2, 0)


def test_windows_that_do_not_fit_are_named():
    frame = table(1).assign(history=[[1.0, 2.0]], until=[1.0])
    with pytest.raises(DataError, match=r"got 1: windows of so many values do not fit. Make data.windows.lookback"):
        split(frame, schema("forecast", until="until"), 0.2, 0)


def test_too_few_rows_are_an_error():
    with pytest.raises(DataError, match="Training needs at least 4 usable rows, got 3"):
        split(table(3), schema(), 0.2, 0)

"""Every stream serves exactly the rows given, in the order it promises."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import aet
from aet.adaptation.streams import PIECES, build_stream
from aet.errors import ConfigError, DataError

FOLLOW = [name for name in PIECES if PIECES[name].axis == "follow"]
ORDER = [name for name in PIECES if PIECES[name].axis == "order"]
NAMES = [*FOLLOW, *ORDER, *(" + ".join(pair) for pair in itertools.product(FOLLOW, ORDER))]


def parts(sizes=(60, 40, 3, 90), classes="abc"):
    rng = np.random.default_rng(0)
    made, first = [], 0
    for number, size in enumerate(sizes):
        rows = pd.DataFrame({"row": np.arange(first, first + size), "y": np.sort(rng.choice(list(classes), size))})
        made.append((f"part {number}", rows.set_axis(np.arange(7, 7 + size))))
        first += size
    return made


def runs(values):
    """How often a value differs from the one before."""
    return int((np.asarray(values)[1:] != np.asarray(values)[:-1]).sum())


@pytest.mark.parametrize("name", NAMES)
class TestContract:
    def test_rows_are_neither_lost_nor_invented(self, name):
        given = parts()
        made = build_stream(name, given, target="y", seed=3)
        whole = pd.concat([frame for _, frame in given], ignore_index=True)
        assert sorted(made.origin) == list(range(len(whole)))
        pd.testing.assert_frame_equal(made.frame, whole.iloc[made.origin].reset_index(drop=True))
        owner = np.repeat([name for name, _ in given], [len(frame) for _, frame in given])
        assert list(made.part) == list(owner[made.origin])
        assert set(made.visit) == {0}

    def test_the_seed_decides(self, name):
        one, same, other = (build_stream(name, parts(), target="y", seed=seed).origin for seed in (3, 3, 4))
        assert np.array_equal(one, same)
        fixed = name in ("as_filed", "continual + as_filed", "reset_each_shift + as_filed")
        assert np.array_equal(one, other) == fixed

    def test_recurring_repeats_them(self, name):
        made = build_stream(f"recurring + {name}", parts(), target="y", visits=3)
        once = build_stream(name, parts(), target="y")
        assert len(made) == 3 * len(once)
        for visit in range(3):
            assert sorted(made.origin[made.visit == visit]) == sorted(once.origin)
        assert len(made.segments()) == (1 if len(once.segments()) == 1 else 3 * len(once.segments()))

    def test_one_part_and_one_row(self, name):
        assert build_stream(name, parts((1,)), target="y").origin.tolist() == [0]
        assert len(build_stream(name, parts((0, 5, 0)), target="y")) == 5

    def test_batches_cover_it(self, name):
        made = build_stream(name, parts(), target="y")
        pieces = list(made.pieces(16))
        assert [row for start, end in pieces for row in range(start, end)] == list(range(len(made)))
        assert set(made.resets) <= {start for start, _ in pieces}


def test_resets_lie_before_each_part():
    made = build_stream("reset_each_shift", parts())
    assert made.resets == (60, 100, 103)
    assert all(len(set(made.part[start:end])) == 1 for start, end in made.segments())
    assert build_stream("continual", parts()).resets == ()


def test_correlated_is_sorted_by_class_within_each_part():
    made = build_stream("correlated", parts(), target="y")
    for start, end in build_stream("reset_each_shift", parts()).segments():
        answers = made.frame["y"][start:end]
        assert runs(answers) == answers.nunique() - 1
    together = build_stream("mixed + correlated", parts(), target="y")
    assert runs(together.frame["y"]) == 2
    assert runs(together.part) > 50


def test_concentration_goes_from_long_runs_to_random_order():
    rows = parts((3000,))
    seen = [
        runs(build_stream("correlated", rows, target="y", concentration=c, seed=1).frame["y"])
        for c in (0.0, 0.01, 1.0, 1000.0)
    ]
    assert seen[0] == 2
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(2000, rel=0.1)


def test_gradual_blends_neighbours_and_keeps_each_order():
    made = build_stream("gradual + as_filed", parts((100, 100, 100)), overlap=0.6)
    for number in range(3):
        assert np.all(np.diff(made.origin[made.part == f"part {number}"]) > 0)
    assert set(made.part[:70]) == {"part 0"}
    assert set(made.part[130:170]) == {"part 1"}
    blend = made.part[70:130] == "part 1"
    assert blend[:20].mean() < 0.4 < 0.6 < blend[-20:].mean()
    assert runs(made.part) > 20


def test_mixed_keeps_each_parts_own_order_if_asked():
    made = build_stream("mixed + as_filed", parts((50, 50)))
    assert runs(made.part) > 20
    assert all(np.all(np.diff(made.origin[made.part == name]) > 0) for name in ("part 0", "part 1"))


def test_numbers_are_correlated_by_their_tenths():
    rows = pd.DataFrame({"y": np.random.default_rng(0).normal(size=200)})
    made = build_stream("correlated", [("all", rows)], target="y")
    assert runs(pd.qcut(made.frame["y"], 10, labels=False)) == 9


def test_delay_in_rows():
    made = build_stream("as_filed", parts((5,)))
    assert made.due(0).tolist() == [1, 2, 3, 4, 5]
    assert made.due(2).tolist() == [3, 4, 5, 5, 5]
    with pytest.raises(ConfigError, match="number of rows"):
        made.due(-1)


def test_delay_by_time():
    days = pd.DataFrame({"when": pd.to_datetime(["2026-01-01", "2026-01-01", "2026-01-05", "2026-02-01"])})
    made = build_stream("as_filed", [("all", days)])
    assert made.due("2D", time="when").tolist() == [2, 2, 3, 4]
    assert made.due("0D", time="when").tolist() == [1, 2, 3, 4]
    assert build_stream("as_filed", [("all", days.astype(str))]).due("40D", time="when").tolist() == [4] * 4
    hours = build_stream("as_filed", [("all", pd.DataFrame({"hour": [0.0, 1.0, 2.5, 3.0]}))])
    assert hours.due(1.5, time="hour").tolist() == [2, 2, 4, 4]


def test_delay_by_time_needs_a_clock():
    days = pd.DataFrame({"when": pd.to_datetime(["2026-01-02", "2026-01-01"]), "hour": [0, 1]})
    made = build_stream("as_filed", [("all", days)])
    with pytest.raises(DataError, match="goes back"):
        made.due("1D", time="when")
    with pytest.raises(DataError, match="no time column 'day'"):
        made.due("1D", time="day")
    for wrong in (-1, "1D", float("inf")):
        with pytest.raises(ConfigError, match="span"):
            made.due(wrong, time="hour")
    forward = build_stream("as_filed", [("all", days.iloc[::-1])])
    for wrong in (3, "soon", "-1D"):
        with pytest.raises(ConfigError, match="span"):
            forward.due(wrong, time="when")


def test_some_rows_keep_order_parts_and_resets():
    made = build_stream("reset_each_shift", parts())
    some = made.take(np.arange(0, len(made), 10))
    assert some.resets == (6, 10, 11)
    assert [set(some.part[a:b]) for a, b in some.segments()] == [{"part 0"}, {"part 1"}, {"part 2"}, {"part 3"}]
    assert np.array_equal(some.origin, made.origin[::10])


def test_names_and_settings_are_checked():
    with pytest.raises(ConfigError, match="Did you mean 'gradual'"):
        build_stream("gradul", parts())
    with pytest.raises(ConfigError, match="both 'gradual' and 'mixed'"):
        build_stream("gradual + mixed", parts())
    with pytest.raises(ConfigError, match="no setting 'overlap'"):
        build_stream("mixed", parts(), overlap=0.5)
    with pytest.raises(DataError, match="target="):
        build_stream("correlated", parts())
    with pytest.raises(DataError, match="got none"):
        build_stream("mixed", parts((0,)))


def test_a_stream_serves_it():
    x = np.random.default_rng(0).normal(size=(120, 2))
    rows = pd.DataFrame(x, columns=["a", "b"]).assign(y=np.where(x.sum(1) > 0, "plus", "minus"))
    model = aet.train(rows, target="y", config={"model": {"dim": 8, "depth": 1}, "train": {"epochs": 1}})
    made = aet.build_stream("recurring + correlated", [("one", rows[:60]), ("two", rows[60:])], target="y", visits=2)
    stream = model.stream()
    answers = pd.concat([stream.predict(made.frame.iloc[start:end]) for start, end in made.pieces(50)])
    assert len(answers) == len(made) == 240
    assert answers["prediction"].notna().all()

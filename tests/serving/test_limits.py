"""Limits: never more than promised, whatever the clock and the order."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aet.errors import ConfigError
from aet.serving.keys import Caller, Forbidden
from aet.serving.limits import Allowed, Buckets, Exceeded, Limits, Shares, TooLarge

ONE, TWO = Caller("0a", "feedback", "site"), Caller("0b", "feedback", "site")
ADMIN = Caller("0c", "admin", "site")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 12)), max_size=40),
    rate=st.floats(0.1, 5),
    burst=st.floats(1, 20),
)
def test_never_more_than_burst_and_rate_in_any_time(steps, rate, burst):
    clock = Clock()
    buckets = Buckets(rate, burst, clock)
    taken: list[tuple[float, float]] = []
    for wait, amount in steps:
        clock.now += wait
        if not buckets.take("a", amount):
            taken.append((clock.now, amount))
    for i, (start, _) in enumerate(taken):
        for j in range(i, len(taken)):
            assert sum(a for _, a in taken[i : j + 1]) <= burst + rate * (taken[j][0] - start) + 1e-6


def test_the_time_to_wait_is_enough_and_not_too_much():
    clock = Clock()
    buckets = Buckets(2.0, 10.0, clock)
    assert buckets.take("a", 10) == 0
    wait = buckets.take("a", 3)
    clock.now += wait - 0.01
    assert buckets.take("a", 3) > 0
    clock.now += 0.011
    assert buckets.take("a", 3) == 0
    assert buckets.take("a", 11) == math.inf


def test_a_clock_that_jumps_back_gives_nothing():
    clock = Clock()
    buckets = Buckets(1.0, 5.0, clock)
    clock.now = 100.0
    assert buckets.take("a", 5) == 0
    clock.now = 0.0
    assert buckets.take("a", 1) > 0
    clock.now = 1.5
    assert buckets.take("a", 1) == 0


def test_buckets_are_bounded_and_the_one_in_use_stays():
    buckets = Buckets(0.001, 1.0, Clock(), most=3)
    assert buckets.take("busy", 1) == 0
    for n in range(100):
        buckets.take(n, 1)
        assert buckets.take("busy", 1) > 0
    assert len(buckets) == 3


def test_two_threads_take_no_more_than_one():
    buckets = Buckets(1e-9, 1000.0, Clock())
    got: list[int] = []

    def take() -> None:
        got.append(sum(buckets.take("a", 1) == 0 for _ in range(1000)))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1000


def test_rows_and_requests_of_one_key_do_not_touch_another():
    limits = Limits(Allowed(requests=1, burst_requests=3, rows=10, burst_rows=100), Clock())
    limits.request(ONE, 100)
    with pytest.raises(Exceeded, match="10 rows a second") as refused:
        limits.request(ONE, 50)
    assert refused.value.seconds == 5
    limits.request(ONE, 0)
    with pytest.raises(Exceeded, match="1 requests a second"):
        limits.request(ONE, 0)
    limits.request(TWO, 100)
    with pytest.raises(TooLarge, match="at most 100 rows, got 101"):
        limits.request(TWO, 101)


def test_labels_an_hour_for_each_key_and_stream():
    clock = Clock()
    limits = Limits(Allowed(asked=100, unasked=10), clock)
    limits.labels(ONE, "a", asked=90, unasked=10)
    with pytest.raises(Exceeded, match="10 labels an hour of rows not asked for"):
        limits.labels(ONE, "a", asked=0, unasked=1)
    limits.labels(ONE, "b", asked=0, unasked=10)
    limits.labels(TWO, "a", asked=0, unasked=10)
    with pytest.raises(TooLarge, match="at most 10 labels of rows not asked for, got 11"):
        limits.labels(TWO, "c", asked=0, unasked=11)
    clock.now += 3600
    limits.labels(ONE, "a", asked=100, unasked=10)


def test_what_is_refused_is_not_counted():
    limits = Limits(Allowed(asked=10, unasked=10), Clock())
    with pytest.raises(TooLarge):
        limits.labels(ONE, "a", asked=11, unasked=10)
    limits.labels(ONE, "a", asked=10, unasked=10)


def test_only_an_admin_says_that_labels_came_at_random():
    limits = Limits()
    with pytest.raises(Forbidden, match="at_random"):
        limits.labels(ONE, "a", asked=0, unasked=1, at_random=True)
    limits.labels(ONE, "a", asked=1, unasked=0, at_random=True)
    limits.labels(ADMIN, "a", asked=0, unasked=1, at_random=True)


def test_one_key_alone_sends_all_it_wants_and_beside_others_its_share():
    clock = Clock()
    limits = Limits(Allowed(share=0.6, least=100), clock)
    for _ in range(20):
        limits.share(ONE, "a", 100)
    limits.share(TWO, "a", 10)
    with pytest.raises(Exceeded, match="60% of this stream's rows"):
        limits.share(ONE, "a", 1)
    limits.share(ONE, "b", 1)
    limits.share(TWO, "a", 100)
    clock.now += 24 * 3600  # long ago counts no more
    limits.share(ONE, "a", 90)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), max_size=60))
def test_shares_hold_from_when_others_send(sent):
    shares = Shares(0.5, least=20, clock=Clock())
    counts = dict.fromkeys("abc", 0)
    for key, rows in sent:
        others = sum(counts.values()) - counts[key]
        if shares.take("s", key, rows) == 0:
            counts[key] += rows
            total = sum(counts.values())
            assert not others or total <= 20 or counts[key] <= 0.5 * total
    assert len(shares._streams) <= 1


def test_streams_remembered_are_bounded():
    shares = Shares(0.5, least=1, clock=Clock(), most=5)
    for n in range(50):
        shares.take(n, "a", 1)
    assert len(shares._streams) == 5


@pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan])
def test_a_limit_is_a_number_above_zero(wrong):
    with pytest.raises(ConfigError):
        Buckets(wrong, 1)
    with pytest.raises(ConfigError):
        Limits(Allowed(burst_rows=wrong))
    with pytest.raises(ConfigError):
        Allowed(share=wrong)

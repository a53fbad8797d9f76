"""The learning rate over the steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aet.training.schedule import SCHEDULES

FALLING = ("linear", "cosine", "inverse_sqrt", "constant", "one_cycle")


@pytest.mark.parametrize("name", list(SCHEDULES))
@given(steps=st.integers(1, 500), warmup=st.floats(0, 0.99))
def test_it_rises_to_one_and_never_leaves_zero_to_one(name, steps, warmup):
    factors = [SCHEDULES[name](step, steps, warmup) for step in range(steps)]
    assert all(-1e-12 <= factor <= 1 + 1e-12 for factor in factors)
    assert max(factors) == pytest.approx(1.0)
    top = next(step for step, factor in enumerate(factors) if factor == pytest.approx(1.0))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    if name in FALLING:
        assert factors[top:] == sorted(factors[top:], reverse=True)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("constant", [0.5, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.5, 0]),
        ("cosine", [0.5, 1, 1, 0.5, 0]),
        ("cyclic", [0.5, 1, 1, 1, 1]),
        ("inverse_sqrt", [0.5, 1, 1, (2 / 7) ** 0.5, (2 / 12) ** 0.5]),
        ("one_cycle", [1 / 25 + (1 - 1 / 25) / 2, 1, 1, 0.5, 0]),
    ],
)
def test_by_hand(name, by_hand):
    assert [SCHEDULES[name](step, 12, 1 / 6) for step in (0, 1, 2, 7, 12)] == pytest.approx(by_hand)


def test_restarts_begin_anew_after_one_and_three_sevenths():
    factors = [SCHEDULES["restarts"](step, 71, 0.0) for step in range(1, 71)]  # the warm-up is one step
    tops = [step for step, factor in enumerate(factors) if factor == pytest.approx(1.0)]
    assert tops == [0, 10, 30]
    assert factors[20] == pytest.approx(0.5)

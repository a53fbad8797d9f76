"""The learning rate over the steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aet.training.schedule import warmup_cosine


@given(st.integers(1, 500), st.floats(0, 0.99))
def test_it_rises_to_one_and_falls_and_never_leaves_zero_to_one(steps, warmup):
    factors = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1.0)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_by_hand():
    assert [warmup_cosine(step, 12, 1 / 6) for step in (0, 1, 2, 7, 12)] == pytest.approx([0.5, 1, 1, 0.5, 0])

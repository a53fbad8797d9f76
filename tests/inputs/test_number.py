"""Numbers: what is learned of a column, and what wild values do."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aet.inputs.number import NumberInput, robust_moments
from aet.schema import InputSpec


def part(frame, groups=None):
    specs = [InputSpec(name, "number", columns) for name, columns in (groups or {c: (c,) for c in frame}).items()]
    torch.manual_seed(0)
    made = NumberInput(specs, 8)
    made.fit(frame, {})
    made.build()
    return made


def test_center_and_spread_are_median_and_quartiles_of_the_values_that_are_there():
    x = np.array([[1.0, np.nan], [2.0, 10.0], [3.0, 10.0], [np.nan, 10.0], [9.0, 10.0], [np.nan, 30.0]])
    center, spread = robust_moments(x)
    assert center.tolist() == [2.5, 10.0]
    assert spread[0] == pytest.approx((4.5 - 1.75) / 1.349)
    assert spread[1] == pytest.approx(np.std([10, 10, 10, 10, 30]))  # the middle half is constant


def test_a_normal_column_is_standardised():
    x = np.random.default_rng(0).normal(50, 4, (20_000, 1))
    center, spread = robust_moments(x)
    assert center[0] == pytest.approx(50, abs=0.1)
    assert spread[0] == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("value", [0.1, -7.3e-12, 1e9 / 3, 0.0])
def test_a_constant_column_has_spread_one_though_its_deviation_is_not_quite_zero(value):
    center, spread = robust_moments(np.full((7, 1), value))
    assert center[0] == value
    assert spread[0] == 1.0


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_unit_of_a_column_does_not_matter(unit):
    x = np.random.default_rng(0).normal(3, 1, 200)
    values = part(pd.DataFrame({"x": x * unit})).encode(pd.DataFrame({"x": x * unit}))
    plain = part(pd.DataFrame({"x": x})).encode(pd.DataFrame({"x": x}))
    torch.testing.assert_close(values, plain, rtol=1e-5, atol=1e-5)


def test_large_offsets_lose_nothing():
    seconds = 1_700_000_000 + np.arange(100.0)
    values = part(pd.DataFrame({"t": seconds})).encode(pd.DataFrame({"t": seconds}))
    steps = values.flatten().diff()
    torch.testing.assert_close(steps, torch.full((99,), float(steps.mean())), rtol=1e-4, atol=0)
    assert steps.min() > 0


def test_a_column_without_values_is_missing_for_ever_and_says_nothing():
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "empty": [np.nan] * 3})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = part(frame)
    later = frame.assign(empty=[5.0, -5.0, np.nan])
    tokens, _ = made(made.encode(later))
    torch.testing.assert_close(tokens, made(made.encode(frame))[0])


@given(st.floats(-1e38, 1e38), st.floats(1e-30, 1e30))
@settings(max_examples=60, deadline=None)
def test_wild_values_give_bounded_tokens(value, unit):
    made = part(pd.DataFrame({"x": np.array([-1.0, 0.0, 1.0]) * unit}))
    tokens, _ = made(made.encode(pd.DataFrame({"x": [value]})))
    assert tokens.abs().max() < 100 * made.weight.abs().max() + 1


def test_a_missing_value_is_a_mark_of_its_own_and_not_a_zero():
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    made = part(frame)
    tokens, _ = made(made.encode(pd.DataFrame({"x": [2.0, np.nan]})))
    assert (tokens[0] - tokens[1]).abs().max() > 0.05
    torch.testing.assert_close(tokens[1, 0], made.missing[0, 0] + made.bias[0])


def test_a_group_is_one_token_and_its_columns_add_up():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=list("abc"))
    made = part(frame, {"ab": ("a", "b"), "ca": ("c", "a")})
    assert made.token_names() == ["ab", "ca"]
    values = made.encode(frame)
    tokens, _ = made(values)
    x = values.asinh()
    expected = x[:, 1, 0, None] * made.weight[1, 0] + x[:, 1, 1, None] * made.weight[1, 1] + made.bias[1]
    torch.testing.assert_close(tokens[:, 1], expected)


def test_groups_of_one_size_share_a_module():
    specs = [InputSpec("x", "number", ("x",)), InputSpec("ab", "number", ("a", "b")), InputSpec("y", "number", ("y",))]
    assert [[spec.name for spec in bundle] for bundle in NumberInput.bundle(specs)] == [["x", "y"], ["ab"]]


def test_drift_is_one_for_the_whole_batch():
    frame = pd.DataFrame({"x": np.linspace(-2, 2, 50)})
    made = part(frame)
    values = made.encode(frame)
    moved = made.augment(values, 1.0, torch.Generator().manual_seed(4))
    known = ~moved.isnan().flatten()
    x, y = values.flatten()[known].numpy(), moved.flatten()[known].numpy()
    gain, offset = np.polyfit(x, y, 1)
    assert np.abs(y - gain * x - offset).max() < 0.3
    assert abs(gain - 1) + abs(offset) > 0.01


def test_single_columns_drift_by_a_fifth_of_a_group():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 2)), columns=["a", "b"])
    single, group = part(frame), part(frame, {"ab": ("a", "b")})

    def lost(made, strength):
        draws = [made.augment(made.encode(frame), strength, torch.Generator().manual_seed(s)) for s in range(20)]
        return float(torch.cat([draw.isnan().flatten() for draw in draws]).float().mean())

    assert lost(group, 1.0) == pytest.approx(0.4, abs=0.1)
    assert lost(single, 1.0) == pytest.approx(0.08, abs=0.03)
    assert lost(single, 5.0) == pytest.approx(0.4, abs=0.1)


def test_by_default_single_columns_are_piecewise_and_groups_linear():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["a", "b"])
    single, group = part(frame), part(frame, {"ab": ("a", "b")})
    assert single.features.count == 16
    assert single.chosen.scaling == group.chosen.scaling == "robust"
    assert group.features.count == 0
    assert not hasattr(group, "curve")


def test_runs_from_before_there_were_embeddings_are_linear():
    made = NumberInput([InputSpec("a", "number", ("a",))], 8)
    made.load_settings({})
    made.build()
    assert set(made.state_dict()) == {"center", "spread", "gain", "offset", "weight", "missing", "bias"}

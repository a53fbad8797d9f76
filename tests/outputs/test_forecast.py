"""Forecasts: measured by their window, quantiles that cover, naive forecasts beside, dials in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.attention.state import ElasticState, applied, merge
from aet.cells.words import objects
from aet.errors import ConfigError, DataError, FeedbackError
from aet.seasons import ridge

from ..made import quick

SEASON, PAST, AHEAD = 6, 36, 8


def waves(rows=200, seed=0, noise=0.2):
    rng = np.random.default_rng(seed)
    t = np.arange(PAST + AHEAD)[None] + rng.integers(0, SEASON, (rows, 1))
    size, level = rng.uniform(1, 5, (rows, 1)), rng.uniform(-30, 30, (rows, 1))
    x = level + size * (2 * np.sin(2 * np.pi * t / SEASON) + noise * rng.normal(size=t.shape))
    return pd.DataFrame({"past": objects(list(x[:, :PAST])), "next": objects(list(x[:, PAST:]))})


@pytest.fixture(scope="module")
def model():
    return aet.train(waves(), target="next", config=quick(epochs=4, drift=0.0))


def test_a_list_of_numbers_asks_for_a_forecast(model):
    assert model.output.kind == "forecast"
    assert (model.output.horizon, model.output.season) == (AHEAD, SEASON)


def test_answers_are_lists_in_the_unit_of_the_series(model):
    rows = waves(20, seed=1)
    answers = model.predict(rows, proba=True)
    truth, said = np.stack(rows["next"]), np.stack(answers["prediction"])
    assert said.shape == (20, AHEAD)
    assert np.abs(said - truth).mean() < 0.3 * np.abs(truth - truth.mean(1, keepdims=True)).mean()
    lower, upper = np.stack(answers["lower"]), np.stack(answers["upper"])
    assert ((lower <= said) & (said <= upper)).all()
    np.testing.assert_allclose(
        np.stack(answers["naive"]), [row[PAST - SEASON :][np.arange(AHEAD) % SEASON] for row in rows["past"]], rtol=1e-4
    )


def test_a_series_at_another_level_and_size_is_forecast_alike(model):
    model = aet.train(waves(), target="next", config={**quick(epochs=1), "inputs": {"series": {"level": False}}})
    rows = waves(10, seed=2)
    moved = rows.map(lambda cell: 40 * cell + 5000)
    said = [np.stack(model.predict(frame)["prediction"]) for frame in (rows, moved)]
    np.testing.assert_allclose(said[1], 40 * said[0] + 5000, rtol=1e-3)


def test_the_naive_forecasts_stand_beside(model):
    rows = waves(100, seed=3)
    figures = model.evaluate(rows)
    past, truth = np.stack(rows["past"]), np.stack(rows["next"])
    unit = np.std(np.stack(waves()["next"])[model_rows(model)])
    last = truth - past[:, -1:]
    season = truth - past[:, PAST - SEASON :][:, np.arange(AHEAD) % SEASON]
    assert figures["mse_naive"] == pytest.approx((last**2).mean() / unit**2, rel=1e-3)
    assert figures["mae_seasonal"] == pytest.approx(np.abs(season).mean() / unit, rel=1e-3)
    assert figures["skill"] == pytest.approx(1 - figures["mse"] / figures["mse_seasonal"])
    assert 0 < figures["skill"] < 1
    steps = np.abs(past[:, SEASON:] - past[:, :-SEASON]).mean()
    assert figures["mase"] == pytest.approx(figures["mae_natural"] / steps, rel=1e-3)
    assert {"mse_to_2", "mae_to_4", "coverage_to_6"} <= set(figures)


def test_windows_without_a_seasonal_step_count_in_no_mase(model):
    rows = waves(4, seed=3)
    flat = rows.assign(past=[np.zeros(PAST)] * 4)
    assert "mase" not in model.evaluate(flat)
    both = model.evaluate(pd.concat([rows, flat]))
    assert both["mase"] == pytest.approx(model.evaluate(rows)["mase"])


def model_rows(model):
    from aet.training.split import split

    return split(waves(), model.schema, model.config.train.valid, model.config.seed)[0]


def test_intervals_cover_as_they_say(model):
    assert model.evaluate(waves(400, seed=4))["coverage"] == pytest.approx(0.9, abs=0.05)


def test_calibration_widens_what_is_too_narrow(model):
    rows = model.encode(model.check(waves(400, seed=5), need_target=True).frame, target=True)
    logits = model.logits(rows).clone()
    forecasts, _, _ = model.output.split(logits)
    forecasts[:, 1:] = forecasts[:, :1]  # no interval at all
    logits[:, : forecasts[0].numel()] = forecasts.flatten(1)
    import copy

    output = copy.deepcopy(model.output)
    output.calibrate(logits, rows.target)
    assert output.metrics(logits, rows.target)["coverage"] == pytest.approx(0.9, abs=0.02)


def test_missing_values_of_a_future_do_not_count(model):
    rows = waves(30, seed=6)
    gaps = rows.assign(next=objects([np.where(np.arange(AHEAD) < 3, cell, np.nan) for cell in rows["next"]]))
    odd = rows.assign(next=objects([np.where(np.arange(AHEAD) < 3, cell, 1e6) for cell in rows["next"]]))
    encoded = [model.encode(model.check(frame, need_target=True).frame, target=True) for frame in (gaps, odd)]
    logits = model.logits(encoded[0])
    lost, wild = (model.output.losses(logits, batch.target) for batch in encoded)
    assert torch.isfinite(lost).all()
    assert (lost < wild).all()
    assert np.isfinite(list(model.evaluate(gaps).values())).all()


def test_the_ridge_is_the_line_of_a_linear_world():
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(500, 7, generator=generator), 0.3 * torch.randn(3, 7, generator=generator)
    y = x @ w.T
    torch.testing.assert_close(ridge(x, y, torch.ones_like(y, dtype=torch.bool)), w, rtol=0.01, atol=0.01)


def test_without_training_the_forecast_is_the_ridge():
    from aet.model import Model
    from aet.schema import infer

    rows = waves(300, noise=0.05)
    schema = infer(rows, "next")
    from aet.config import Config

    torch.manual_seed(0)
    model = Model(schema, Config.read(quick())).fit_columns(Model(schema, Config()).check(rows, need_target=True).frame)
    assert model.eval().evaluate(waves(50, seed=8, noise=0.05))["skill"] > 0


@pytest.mark.parametrize("dial", ["gain", "bias"])
def test_dials_are_linear_at_the_windows_size(model, dial):
    rows = model.encode(model.check(waves(9, seed=7)).frame)
    moved = ElasticState({**ElasticState.zeros(model), f"output.{dial}": torch.linspace(-0.5, 0.5, AHEAD)})
    with applied(moved):
        said, _, _ = model.output.split(model.logits(rows))
    before, _, _ = model.output.split(model.logits(rows))
    step = torch.linspace(-0.5, 0.5, AHEAD)
    expected = before * (1 + step) if dial == "gain" else before + step
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.output.split(merge(model, moved).logits(rows))[0], said, rtol=1e-4, atol=1e-4)


def test_a_forecast_needs_no_series():
    """A day's curve from what is known of the day."""
    rng = np.random.default_rng(0)
    warm = rng.normal(size=200)
    curves = warm[:, None] * np.arange(1, 5) + 0.1 * rng.normal(size=(200, 4))
    frame = pd.DataFrame({"warm": warm, "load": objects(list(curves))})
    model = aet.train(frame, target="load", config=quick(epochs=8, drift=0.0, lr=0.02))
    assert model.evaluate(frame)["mse"] < 0.2
    assert model.evaluate(frame)["mse_seasonal"] == pytest.approx(1, abs=0.2)


def test_of_names_the_series_that_goes_on():
    rows = waves(60).assign(other=objects([np.arange(5.0)] * 60))
    config = {**quick(epochs=1), "output": {"of": "past"}}
    assert aet.train(rows[["other", "past", "next"]], target="next", config=config).output.season == SEASON
    with pytest.raises(
        ConfigError, match=r"output.of='nothing' is no input of kind series: expected one of 'past', 'other'"
    ):
        aet.train(rows, target="next", config={**quick(), "output": {"of": "nothing"}})


@pytest.mark.parametrize("levels", [[0.5], [0.9, 0.1], [0.1, 0.2], [0.0, 0.9], [0.1, 0.1, 0.9]])
def test_levels_must_stand_on_both_sides(levels):
    with pytest.raises(ConfigError, match="expected two or more that rise"):
        aet.train(waves(20), target="next", config={**quick(), "output": {"levels": levels}})


def test_inner_quantiles_are_answers_too():
    config = {**quick(epochs=2), "output": {"levels": [0.1, 0.4, 0.6, 0.9], "loss": "mae", "linear": False}}
    answers = aet.train(waves(80), target="next", config=config).predict(waves(3, seed=1), proba=True)
    assert {"q_0.4", "q_0.6", "naive"} <= set(answers)


def test_futures_of_other_lengths_are_kept_aside(model):
    rows = waves(6)
    rows.at[2, "next"] = np.arange(3.0)
    checked = model.check(rows, need_target=True)
    wanted = f"a list of {AHEAD} finite numbers, the future of the row"
    assert checked.problems == {2: f"row 3, column 'next': expected {wanted}, got 3 of them"}
    with pytest.raises(FeedbackError, match=rf"lists of {AHEAD} finite numbers.*Wait until all are there"):
        model.output.encode(rows.iloc[[2]])


def test_a_series_that_never_moves_cannot_be_learned():
    rows = pd.DataFrame({"past": objects([np.ones(9)] * 9), "next": objects([np.ones(3)] * 9)})
    with pytest.raises(DataError, match=r"is 1\.0 at every time"):
        aet.train(rows, target="next", config=quick())


def test_models_pool_and_teach(model):
    other = aet.train(waves(seed=9), target="next", config=quick(epochs=2), seed=3)
    rows = model.encode(model.check(waves(9, seed=10)).frame)
    heard = model.output.translated(other.output, other.logits(other.encode(other.check(waves(9, seed=10)).frame)))
    said = np.stack(model.output.answers(heard)["prediction"])
    np.testing.assert_allclose(said, np.stack(other.predict(waves(9, seed=10))["prediction"]), rtol=1e-3, atol=1e-2)
    pooled = model.output.pooled(torch.stack([model.logits(rows), heard]))
    assert (model.output.uncertainty(pooled) > 0).all()

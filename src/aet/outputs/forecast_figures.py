"""Figures of forecasts, with those of the naive forecasts always beside."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def forecast_figures(
    guesses: Mapping[str, Tensor],
    truth: Tensor,
    known: Tensor,
    scale: Tensor,
    interval: tuple[Tensor, Tensor],
    step: Tensor,
) -> dict[str, float]:
    """Errors over all that is known.

    Args:
        guesses: forecasts (B, H) at the windows' size: ours under "", others by the ending of their figures' names,
            "_seasonal" among them.
        truth: (B, H), likewise.
        known: (B, H), where there is a truth.
        scale: of the windows, in deviations of the training targets (B, 1).
        interval: its ends (B, H), at the windows' size.
        step: mean seasonal step inside each window, at its size (B, 1).

    Returns:
        `skill`: 1 - MSE / MSE of the seasonal naive; `mse`, `mae`: in deviations of the training targets, and so
        `mse_naive` (the last value again), `mae_seasonal` (the last season again) and the like; `mase`: MAE over the
        mean seasonal step, of the windows that have one (longer than a season, not constant), left out where none has;
        `coverage` and mean `width` of the interval; `mse_to_h`, `mae_to_h`, `coverage_to_h` over the first h values, a
        quarter, half and three quarters of them (over all, where of those none is known).

    >>> truth = torch.tensor([[1.0, 2.0]])
    >>> guesses = {"": truth - 0.5, "_seasonal": truth - 1}
    >>> ends = (truth - 1, truth + 1)
    >>> found = forecast_figures(guesses, truth, truth > 0, torch.ones(1, 1), ends, torch.ones(1, 1))
    >>> found["skill"], found["mae"], found["mae_seasonal"], found["coverage"]
    (0.75, 0.5, 1.0, 1.0)
    """
    known, scale, z = known.cpu(), scale.double().cpu(), truth.double().cpu()
    lower, upper = (end.double().cpu() for end in interval)
    inside = ((z >= lower) & (z <= upper)).double()
    errors = {name: (guess.double().cpu() - z) * scale for name, guess in guesses.items()}

    def mean(figure: Tensor, where: Tensor = known) -> float:
        return float(figure.expand_as(known)[where].mean())

    found = {
        f"{figure}{name}": mean(error.square() if figure == "mse" else error.abs())
        for name, error in errors.items()
        for figure in ("mse", "mae")
    }
    found = {"skill": 1 - found["mse"] / max(found["mse_seasonal"], 1e-12), **found}
    stepped = known & (step.cpu() > 0)
    if stepped.any():
        found["mase"] = mean(errors[""].abs(), stepped) / mean(step.double().cpu() * scale, stepped)
    found |= {"coverage": mean(inside), "width": mean((upper - lower) * scale)}
    horizon, own = known.shape[1], errors[""]
    for h in sorted({-(-horizon * part // 4) for part in (1, 2, 3)} - {horizon}):
        first = known & (torch.arange(horizon) < h)
        for figure, values in (("mse", own.square()), ("mae", own.abs()), ("coverage", inside)):
            found[f"{figure}_to_{h}"] = mean(values, first if first.any() else known)
    return found

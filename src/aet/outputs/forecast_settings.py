"""What may be chosen of a forecast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from aet.config import Section

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mae": torch.abs,
    "mse": torch.square,
    "huber": lambda e: F.huber_loss(e, torch.zeros_like(e), reduction="none"),
}


class ForecastSettings(Section):
    """`output` of a forecast."""

    loss: Literal["mae", "mse", "huber"] = Field("huber", description="What the point forecast minimises.")
    levels: list[float] = Field([0.05, 0.95], description="Quantiles beside it; the outermost are the interval.")
    season: PositiveInt | None = Field(
        None, description="Values of a season; found in the training windows unless given."
    )
    of: str | None = Field(
        None, description="Input of kind series that the target continues; the first one unless given."
    )
    linear: bool = Field(True, description="A linear map of the window beside the network, from ridge regression.")
    weigh: Literal["window", "table"] = Field(
        "window", description="Errors in units of each row's window, or of the table: then rows of large scale lead."
    )

"""Adaptive dynamic attention: the state that the model's own network reads off the rows, without a gradient.

    inputs:  (n_w - 1)/(n_w - 1 + κ) of what brings the last n_w <= `window` rows to the training rows' moments
    trunk:   m ← 2^(-n / half_life) · m + Σ_i r(x_i),    N ← 2^(-n / half_life) · N + n,    network(s(m / N), N)

r: a row's statistics, s and the network: `aet.attention.dynamic`, trained with the model across simulated worlds. At
most n = `sample` rows of a batch, evenly spread, speak together with those of the stream before them, so that small
batches are steadied and large ones cost little. It reads tokens before the trunk: a few percent of a forward pass. A
batch's tokens are made once, for the network and for the answers. One row alone is answered by the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Method
from aet.attention.state import ElasticState, applied, under
from aet.batch import Batch, newest
from aet.errors import ConfigError
from aet.model import evaluating
from aet.trunk import named


@METHODS.register("dynamic")
class Dynamic(Method):
    """Settings: `half_life` of a row's say in rows; `window` and `sample`, rows at most, as above.

    For models trained with `model.attention: {dynamic: {}}`; ConfigError for others.
    """

    defaults: ClassVar[dict[str, Any]] = {"half_life": 256, "window": 128, "sample": 64}

    def reset(self) -> None:
        """Back to the source, with no rows seen."""
        super().reset()
        if self.model.trunk.dynamic is None:
            raise ConfigError(
                "'dynamic' needs a model that was trained for it; this one has no network that emits a state. Train "
                "with config={'model': {'attention': {'dynamic': {}}}}, or use 'align' or 'restandardise'."
            )
        self.layout, self.at_once = self.model.trunk.layout(), self.model.rows_at_once()
        self.network, self.device = self.model.trunk.dynamic, self.model.device
        self.total = torch.zeros_like(self.network.row_center)
        self.rows = 0.0
        self.asked = True
        """Whether the last batch was answered: so the tokens of the next are wanted for that too."""
        self.made: tuple[Batch, ElasticState, Tensor, Tensor | None] | None = None
        """The last batch, its state and its tokens and mask, until they are answered."""
        self.recent: dict[str, Tensor] = {}
        self.parts = [name for name, part in self.model.parts() if part.dial_shapes()]

    @torch.no_grad()
    def propose(self, batch: Batch) -> ElasticState:
        """The state for these rows and those before them."""
        self.made = None
        if len(batch):
            self.follow(sampled(batch, self.settings["window"]))
            inputs = (self.model.realigned(self.recent) if self.parts else ElasticState({})).clipped(RADIUS)
            whole, self.asked = self.asked and len(batch) <= self.at_once, False
            tokens = self.tokens(batch if whole else sampled(batch, self.settings["sample"]), inputs)
            spoken = self.read(*tokens)
            kept = 0.5 ** (len(spoken) / self.settings["half_life"])
            self.total = kept * self.total + spoken.sum(0)
            self.rows = kept * self.rows + len(spoken)
            flat = self.network(self.network.statistics(self.total / self.rows), self.rows)
            trunk = named(flat.clamp(-RADIUS, RADIUS), self.layout)
            self.state = self.state.updated({**inputs, **trunk})
            self.made = (batch, self.state, *tokens) if whole else None
        return self.state

    def follow(self, rows: Batch) -> None:
        """The window moves on to these rows."""
        for name in self.parts:
            self.recent[name] = newest(self.recent.get(name), rows.values[name].cpu(), self.settings["window"])

    def tokens(self, batch: Batch, inputs: ElasticState) -> tuple[Tensor, Tensor | None]:
        """What the trunk is given of these rows under the inputs' part of the state: (B, T, dim), mask (B, T)."""
        with applied(inputs), evaluating(self.model):
            return self.model.tokens(batch.to(self.device))

    def read(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Statistics r of at most `sample` of the rows, (n, S)."""
        if len(tokens) > self.settings["sample"]:
            places = spread(len(tokens), self.settings["sample"])
            tokens, mask = tokens[places], None if mask is None else mask[places]
        return self.network.tamed(self.network.rows(tokens, mask))

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """Logits (B, width); the tokens that were read off this very batch under this very state are made once."""
        made, self.made, self.asked = self.made, None, True
        if made is None or made[0] is not batch or made[1] is not self.state:
            return super().answer(batch)
        here = batch.to(self.device)
        with applied(self.state), evaluating(self.model):
            return self.model.from_tokens(*made[2:], here).cpu()

    def memory(self) -> dict[str, Tensor]:
        """Sum and number of the rows, the window, and whether answers were asked for."""
        window = {f"recent.{name}": t for name, t in self.recent.items()}
        known = {"total": self.total, "rows": torch.tensor(self.rows, dtype=torch.float64)}
        return {**known, "asked": torch.tensor(self.asked), **window}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.total, self.rows = memory["total"].to(self.total), float(memory["rows"])
        self.asked = bool(memory.get("asked", True))
        self.recent = under("recent.", memory)


def sampled(batch: Batch, most: int) -> Batch:
    """At most so many rows of a batch.

    >>> sampled(Batch({"x": torch.arange(9)}), 3).values["x"]
    tensor([0, 3, 6])
    """
    return batch if len(batch) <= most else batch[spread(len(batch), most)]


def spread(rows: int, most: int) -> Tensor:
    """Places of `most` of so many rows, evenly spread over them: a large batch may be sorted."""
    return torch.arange(most) * rows // most

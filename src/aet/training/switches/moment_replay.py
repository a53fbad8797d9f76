"""Statistics-only replay: rows like the old ones, drawn from moments, keep the answers they had at the start.

    L + α · mean D(z⁰(x), z(x)),    x ~ Σ_c p_c N(μ_c, Σ)

x are the tokens of a row, drawn from the class means, the class shares and the common low-rank covariance that the
source statistics hold (`aet.token_moments`), z⁰ and z their logits from the model as it was at the start and as it is,
and D the distance of `lwf`. The inputs, which make tokens of rows, are frozen meanwhile: other tokens of the same rows
would make the moments those of another world. Replay without rows is from Shin et al. 2017 (1705.08690, with a
generator) and Zhu et al. 2021 (PASS, CVPR, with class means of features); to draw tokens and distil is our choice.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch, some_rows
from aet.model import Model
from aet.token_moments import ROWS, TokenMoments
from aet.training.switch import SWITCHES, Pass, Run, Switch
from aet.training.switches.lwf import apart


@SWITCHES.register("moment_replay")
class MomentReplay(Switch):
    """Settings: `alpha`, the weight of the drawn rows; `rows` drawn beside each batch."""

    name = "moment_replay"
    searched = False
    holds_inputs = True
    defaults: ClassVar[dict[str, Any]] = {"alpha": 1.0, "rows": 64}
    excludes = ("unfreeze",)
    reads: ClassVar[tuple[str, ...]] = ("summary", "tokens")

    def begin(self, run: Run) -> None:
        """Keep trunk and head as they are, and freeze the inputs; the same again when a run is taken up."""
        model = run.model
        known = model.statistics.tokens if model.statistics else None
        self.moments = (known or token_moments(model, run.train)).to(model.device)
        self.teacher = copy.deepcopy(torch.nn.ModuleList([model.trunk, model.output])).eval().requires_grad_(False)
        self.trained = [p for p in model.inputs.parameters() if p.requires_grad]
        for p in self.trained:
            p.requires_grad_(False)

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The formula above."""
        alpha = float(self.settings["alpha"])
        if alpha == 0:
            return None
        self.calls += 1
        tokens, mask = self.moments.draw(self.settings["rows"])
        trunk, output = self.teacher
        with torch.no_grad():
            old = output(trunk(tokens, mask))
        new = seen.forward(tokens, mask, None)
        return alpha * apart(run.model.output, old, new).mean()

    def end(self, run: Run) -> None:
        """The inputs take a gradient again."""
        for p in self.trained:
            p.requires_grad_(True)

    def acted(self) -> str:
        """Rows drawn."""
        return f"drew {self.calls * self.settings['rows']:,} rows" if self.calls else ""


@torch.no_grad()
def token_moments(model: Model, rows: Batch) -> TokenMoments:
    """Moments of at most 512 rows, drawn by the seed."""
    order = some_rows(len(rows), ROWS, model.config.seed)
    piece = rows[order].to(model.device)
    tokens, mask = model.tokens(piece)
    label = model.output.kind == "label"
    return TokenMoments.of(tokens, mask, piece.target if label else None, model.output.width if label else 1)

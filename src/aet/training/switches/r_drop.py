"""R-Drop (Liang et al. 2021, 2106.14448): two passes of a row under different dropout must agree.

    L = ½(l(z₁) + l(z₂)) + α · D(z₁, z₂),    D = ¼(KL(p₁‖p₂) + KL(p₂‖p₁))

which is half the paper's L, so that the learning rate keeps its meaning. p is the softmax of a label's logits; of
several labels, the mean over their yes-or-no distributions. For numbers D = ¼ · mean (z₁ - z₂)², the same between
Gaussians of variance 1, mean over the logits. Costs a second pass of the rows.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from aet.errors import ConfigError
from aet.members import over_members
from aet.training.switch import SWITCHES, Pass, Run, Switch, need_blocks


@SWITCHES.register("r_drop")
class RDrop(Switch):
    """Settings: `alpha`, the weight of the disagreement; at 0 only the loss is the mean of two passes."""

    name = "r_drop"
    defaults: ClassVar[dict[str, Any]] = {"alpha": 1.0}

    def begin(self, run: Run) -> None:
        """ConfigError if nothing makes the two passes differ."""
        need_blocks(self.name, run.model)
        config = run.model.config
        if config.model.dropout == 0 and "stochastic_depth" not in config.train.switches:
            raise ConfigError(
                f"The switch {self.name!r} compares two passes under different dropout, and would do nothing: expected "
                "model.dropout above 0, got 0. Set it, for example to 0.1, turn stochastic_depth on, or turn this off."
            )

    def term(self, run: Run, seen: Pass) -> Tensor:
        """What the second pass adds to the loss of the first."""
        logits = seen.forward(seen.tokens, seen.mask)
        difference = 0.5 * (seen.again(run, logits) - seen.losses)
        self.calls += 1
        output = run.model.output
        if output.reads != "summary":
            apart = 0.25 * (output.distance(seen.logits, logits) + output.distance(logits, seen.logits))
        else:
            apart = over_members(disagreement(output.kind, seen.logits, logits))
        return seen.mean(difference + float(self.settings["alpha"]) * apart)

    def acted(self) -> str:
        """Batches passed twice."""
        return f"compared two passes of {self.calls:,} batches" if self.calls else ""


def disagreement(kind: str, one: Tensor, two: Tensor) -> Tensor:
    """D of each row (B,) for two logits (B, width) of an output of that kind.

    The symmetric Kullback-Leibler divergence is Σ (p₁ - p₂)(log p₁ - log p₂); of yes-or-no distributions it is
    (p₁ - p₂)(z₁ - z₂).

    >>> import torch
    >>> disagreement("number", torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[6.0, 0.0, 0.0]]))
    tensor([3.])
    """
    if kind == "label":
        logs = F.log_softmax(one, -1), F.log_softmax(two, -1)
        return 0.25 * ((logs[0].exp() - logs[1].exp()) * (logs[0] - logs[1])).sum(-1)
    if kind == "multilabel":
        return 0.25 * ((one.sigmoid() - two.sigmoid()) * (one - two)).mean(-1)
    return 0.25 * (one - two).square().mean(-1)

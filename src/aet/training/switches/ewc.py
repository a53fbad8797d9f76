"""Online elastic weight consolidation (Schwarz et al. 2018, 1805.06370; after Kirkpatrick et al. 2017, 1612.00796).

    L + (λ/2) Σ_i F_i (θ_i - θ⁰_i)²,    F ← γ F + F_new after each update

with θ⁰ the weights at the start and F the diagonal of the empirical Fisher information, E[(∂l/∂θ)²] over single rows.
Its mean over all weights is brought to 1 here, so that λ means the same for a model whose gradients have all but
vanished.

F comes from the rows that the model keeps (a uniform sample of all that was seen, so it needs no γ), else from what the
run folder keeps of it (`train.keep_fisher`), else, for a model trained from nothing, from its training rows.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch, some_rows
from aet.model import Model
from aet.training.switch import SWITCHES, Pass, Run, Switch

FISHER: dict[str, Any] = {"rows": 128, "decay": 0.9}


@SWITCHES.register("ewc")
class Ewc(Switch):
    """Settings: `strength` λ; `rows` that F is taken over at most; `decay` γ of a kept F at each update."""

    name = "ewc"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {"strength": 0.1, **FISHER}
    fractions = ("decay",)

    def begin(self, run: Run) -> None:
        """Note the start and F there; a run that is taken up begins with the same weights and then gets its own."""
        model = run.model
        self.start = [p.detach().clone() for p in model.parameters()]
        kept = model.reservoir.part(held=False) if model.reservoir else None
        if kept is None and model.fisher:
            values = {name: t.to(model.device) for name, t in model.fisher.items()}
        else:
            values = fisher(model, run.train if kept is None else kept, self.settings["rows"])
        self.fisher = unit([fitted(values[name], p) for name, p in model.named_parameters()])

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The formula above."""
        strength = float(self.settings["strength"])
        if strength == 0:
            return None
        self.calls += 1
        parts = zip(run.model.parameters(), self.start, self.fisher, strict=True)
        return 0.5 * strength * torch.stack([(f * (p - start).square()).sum() for p, start, f in parts]).sum()


def fisher(model: Model, rows: Batch, count: int) -> dict[str, Tensor]:
    """E[(∂l/∂θ)²] by parameter, over at most `count` rows drawn by the seed, each by its weight; without dropout."""
    order = some_rows(len(rows), count, model.config.seed)
    training, parameters = model.training, dict(model.named_parameters())
    model.eval()
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    counted = 0.0
    for row in order.split(1):
        piece = rows[row].to(model.device)
        assert piece.target is not None
        weight = 1.0 if piece.weight is None else float(piece.weight)
        losses = model.output.losses(model(piece), piece.target)
        slopes = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        for name, slope in zip(parameters, slopes, strict=True):
            if slope is not None:
                total[name].addcmul_(slope, slope, value=weight)
        counted += weight
    model.train(training)
    return {name: t.detach() / max(counted, 1e-12) for name, t in total.items()}


def unit(values: list[Tensor]) -> list[Tensor]:
    """F over its mean; all ones where no weight matters."""
    mean = sum(float(t.sum()) for t in values) / sum(t.numel() for t in values)
    return [t / mean if mean > 0 else torch.ones_like(t) for t in values]


def fitted(values: Tensor, parameter: Tensor) -> Tensor:
    """F of a parameter; places that an update added do not matter yet.

    >>> fitted(torch.ones(2), torch.zeros(3))
    tensor([1., 1., 0.])
    """
    if values.shape == parameter.shape:
        return values
    grown = torch.zeros_like(parameter)
    grown[: len(values)] = values
    return grown

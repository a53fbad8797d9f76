"""The head starts from logistic regression on the untrained model's summaries (LP-FT, Kumar et al. 2022, 2202.10054).

    (W, b) = argmin_{W, b}  C Σ_i w_i · (-log softmax(W ẽ_i + b)_{y_i}) + ½ ‖W‖²

over the training rows' summaries ẽ, standardised; C is the one of `STRENGTHS` with the best accuracy on the validation
rows. A head that starts from nothing sends large, random gradients into a pretrained network and distorts what it
knows; one that starts there does not, and fewer epochs are needed. Without a pretrained network the summaries are those
of random weights.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aet.batch import some_rows
from aet.errors import ConfigError
from aet.model import Model, evaluating
from aet.summaries import summaries
from aet.training.switch import SWITCHES, Run, Switch

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Values of C to try."""

LEAST_SPREAD = 1e-6
"""Below it a channel of the summary says nothing, and is left alone."""


@SWITCHES.register("linear_probe")
class LinearProbe(Switch):
    """Settings: `rows`, at most so many training rows are read."""

    name = "linear_probe"
    defaults: ClassVar[dict[str, Any]] = {"rows": 20_000}
    reads = ("summary",)
    searched = False

    def prepare(self, model: Model) -> None:
        """Refuse what has no classes to regress on."""
        if model.output.kind != "label" or not isinstance(model.output.head, nn.Linear):
            members = model.config.model.members
            raise ConfigError(
                "The switch 'linear_probe' starts the linear head of one class a row: expected the output 'label' and "
                f"model.members of 1, got {model.output.kind!r} and {members}. Turn it off, or change them."
            )

    def begin(self, run: Run) -> None:
        """Fit, and write into the head."""
        index = some_rows(len(run.train), self.settings["rows"], run.model.config.seed)
        train, valid = run.train[index], run.valid
        assert train.target is not None
        assert valid.target is not None
        with evaluating(run.model):
            (seen, _), (held, _) = summaries(run.model, train), summaries(run.model, valid)
        found = [fitted(seen, train.target, train.weight, strength) for strength in STRENGTHS]
        right = [float(((held @ weight.T + bias).argmax(1) == valid.target).float().mean()) for weight, bias in found]
        best = max(range(len(found)), key=right.__getitem__)
        known = train.target.unique()
        head = run.model.output.head
        with torch.no_grad():
            head.weight[known], head.bias[known] = (part.to(head.weight) for part in found[best])
        self.calls, self.accuracy, self.strength = 1, right[best], STRENGTHS[best]

    def acted(self) -> str:
        """Where the head started."""
        if not self.calls:
            return ""
        return f"started the head at {100 * self.accuracy:.1f} % on validation rows (C = {self.strength:g})"


def fitted(rows: Tensor, target: Tensor, weight: Tensor | None, strength: float) -> tuple[Tensor, Tensor]:
    """W (C, D) and b (C,) of the classes among the targets, in order, for summaries (N, D) as they are.

    >>> rows, target = torch.tensor([[-1.0, 5.0], [1.0, 5.0]]), torch.tensor([0, 1])
    >>> weight, bias = fitted(rows, target, None, 1.0)
    >>> (rows @ weight.T + bias).argmax(1)
    tensor([0, 1])
    """
    from sklearn.linear_model import LogisticRegression

    mean, spread = rows.mean(0), rows.std(0)
    spread = torch.where(spread > LEAST_SPREAD, spread, torch.inf)
    model = LogisticRegression(C=strength, max_iter=300)
    model.fit(((rows - mean) / spread).numpy(), target.numpy(), None if weight is None else weight.numpy())
    weights, bias = torch.from_numpy(model.coef_).float(), torch.from_numpy(model.intercept_).float()
    if len(weights) == 1:  # two classes have one vector there, and two logits here
        weights, bias = torch.cat([-weights, weights]) / 2, torch.cat([-bias, bias]) / 2
    weights = weights / spread
    return weights, bias - weights @ mean

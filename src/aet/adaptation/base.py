"""What an adaptation method is: PyTorch's contract, `logits = method(batch)`; only the elastic state moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.config import checked_settings
from aet.errors import ConfigError
from aet.model import Model
from aet.registry import Registry

METHODS: Registry[type[Method]] = Registry("adaptation method")

RADIUS = 5.0
"""Trust region: no element of an elastic state ever moves further from the source."""


class Method:
    """A source model and an elastic state that a rule moves.

    `propose` gives the state that answers a batch: what a rule takes from the batch without a gradient acts on that
    very batch. `learn` takes gradient steps afterwards, which act from the next batch on. `label` takes late labels.

    Args:
        model: the source, never changed.
        settings: `defaults` of the method, overridden; counts are 1 or more, other numbers 0 or more.
    """

    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, model: Model, **settings: Any) -> None:
        self.model = model
        self.settings = checked_settings(f"method {type(self).__name__}", self.defaults, settings)
        self.passes = 0.0
        """Row passes spent beside answering: a forward of a row counts one, a backward two."""
        self.reset()

    def reset(self) -> None:
        """Back to the source."""
        self.state = ElasticState.zeros(self.model)

    @property
    def follows(self) -> str:
        """What a method that chooses between proposals has chosen, in words; empty for one that does not choose."""
        return ""

    def propose(self, batch: Batch) -> ElasticState:
        """The state that answers this batch."""
        return self.state

    def learn(self, batch: Batch) -> None:
        """Move the state by what the batch shows."""

    def label(self, batch: Batch) -> None:
        """Move the state by rows with true answers; a method without use for labels ignores them."""

    def __call__(self, batch: Batch) -> Tensor:
        """Answer a batch, then learn from it: logits (B, width)."""
        state = self.propose(batch)
        with applied(state):
            logits = self.model.logits(batch)
        self.learn(batch)
        return logits

    def memory(self) -> dict[str, Tensor]:
        """What the method keeps beside the state, to be saved with a stream."""
        return {}

    def load_memory(self, memory: dict[str, Tensor]) -> None:
        """Take back what `memory` gave."""

    def descend(
        self,
        loss: Callable[[ElasticState], Tensor],
        start: ElasticState,
        moves: Callable[[str], bool],
        lr: float,
        steps: int,
    ) -> ElasticState:
        """Adam on the dials whose name satisfies `moves`, from `start`; the rest stays. The result is inside the
        trust region; a step without a finite loss and slope ends the descent.
        """
        free = start.select(moves).trainable()
        if not free:
            raise ConfigError(f"{type(self).__name__} moves dials that this model does not have.")
        leaves = list(free.values())
        optimiser = torch.optim.Adam(leaves, lr=lr)
        for _ in range(steps):
            state = start.updated(free)
            with applied(state), torch.enable_grad():
                value = loss(state)
            if not torch.isfinite(value):
                break
            # Only the dials' gradients are asked for: the source's weights, shared with other streams, get none.
            for leaf, slope in zip(leaves, torch.autograd.grad(value, leaves, allow_unused=True), strict=True):
                leaf.grad = slope
            if not torch.isfinite(torch.nn.utils.clip_grad_norm_(leaves, 1.0)):
                break
            optimiser.step()
        return start.updated(free).clipped(RADIUS)


def is_norm(name: str) -> bool:
    """Dials of the norms."""
    return name.rpartition(".")[0].rpartition(".")[2].startswith("norm")


def is_attention(name: str) -> bool:
    """Dials inside attention."""
    return name.rpartition(".")[0].endswith("attention")

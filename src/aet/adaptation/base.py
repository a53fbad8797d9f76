"""What an adaptation method is: PyTorch's contract, `logits = method(batch)`; only the elastic state moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from aet.adaptation.descent import Descent, clipped_slopes
from aet.adaptation.serving import Choice, Correction
from aet.attention.state import ElasticState, applied
from aet.backbones.attached import CHILD
from aet.batch import Batch
from aet.config import checked_settings
from aet.errors import ConfigError
from aet.model import Model
from aet.registry import Registry

METHODS: Registry[type[Method]] = Registry("adaptation method")

Look = tuple[Batch, ElasticState | None]
"""Rows, and the state under which their logits are wanted; None is the source's."""

RADIUS = 5.0
"""Trust region: no element of an elastic state ever moves further from the source."""


_SOURCES: WeakKeyDictionary[Model, ElasticState] = WeakKeyDictionary()


def source_state(model: Model) -> ElasticState:
    """The model's zero state. Its tensors, which are never written in place, are those of all streams of the model: a
    thousand streams would hold some hundred tensors each that say nothing.
    """
    known, weight = _SOURCES.get(model), next(model.parameters())
    some = next(iter(known.values()), None) if known else None
    if known is None or some is None or (some.device, some.dtype) != (weight.device, weight.dtype):
        known = _SOURCES[model] = ElasticState.zeros(model)
    return ElasticState(known)


class Method:
    """A source model and an elastic state that a rule moves.

    `propose` gives the state that answers a batch: what a rule takes from the batch without a gradient acts on that
    very batch. `answer` gives the logits under it. `learn` takes gradient steps afterwards, which act from the next
    batch on. `label` takes late labels.

    Args:
        model: the source, never changed.
        settings: `defaults` of the method, overridden; counts are 1 or more, other numbers 0 or more.
    """

    defaults: ClassVar[dict[str, Any]] = {}

    needs: ClassVar[tuple[str, ...]] = ()
    """Kinds of output that the rule is defined for; every kind if empty."""

    corrects: ClassVar[bool] = False
    """Whether `answer` always does more than apply the state."""

    reads_calls: ClassVar[bool] = False
    """Whether `answer` says to a row what depends on those that came with it."""

    def __init__(self, model: Model, **settings: Any) -> None:
        self.model = model
        self.name = next((name for name in METHODS if METHODS[name] is type(self)), type(self).__name__)
        self.settings = checked_settings(f"method {type(self).__name__}", self.defaults, settings)
        if self.needs and model.output.kind not in self.needs:
            raise ConfigError(
                f"{self.name!r} is defined for outputs {' and '.join(map(repr, self.needs))}; this model's is "
                f"{model.output.kind!r}. Use 'align' or 'feedback'."
            )
        self.passes = 0.0
        """Row passes spent beside answering: a forward of a row counts one, a backward two."""
        self.reset()

    def reset(self) -> None:
        """Back to the source."""
        self.state = source_state(self.model)

    @property
    def follows(self) -> str:
        """What a method that chooses between proposals has chosen, in words; empty for one that does not choose."""
        return ""

    @property
    def correction(self) -> Correction | None:
        """What is done to the logits that the state gives to a call's rows, in their order; None for nothing."""
        return None

    @property
    def own_answer(self) -> bool:
        """Whether `answer` is a rule of its own, so that its rows cannot pass with those of other streams."""
        return type(self).answer is not Method.answer

    @property
    def in_calls(self) -> bool:
        """Whether what is said to a row may depend on those that came with it."""
        return self.reads_calls or self.correction is not None

    @property
    def trusted(self) -> Choice | None:
        """What evidence without labels says is to be served; None for a method without such evidence."""
        return None

    @property
    def why(self) -> str:
        """The evidence that `trusted` rests on, in words."""
        return "no evidence without labels"

    def propose(self, batch: Batch) -> ElasticState:
        """The state that answers this batch."""
        return self.state

    def looks(self, batch: Batch) -> Sequence[Look]:
        """What `propose` of this batch asks the model, where that can be said before; nothing moves."""
        return ()

    def proposed(self, batch: Batch, said: Sequence[Tensor]) -> ElasticState:
        """`propose`, given the logits of its `looks`: those of many streams, and answers, come from one pass."""
        return self.propose(batch)

    def answer_under(self, rows: Batch, state: ElasticState | None) -> Tensor:
        """Logits (B, width) of rows under a state: what a look gives."""
        with applied(state):
            return self.model.logits(rows)

    def answer(self, batch: Batch) -> Tensor:
        """Logits (B, width) of a call's rows as proposed; nothing moves. Methods that correct answers do so here."""
        logits, correction = self.answer_under(batch, self.state), self.correction
        return logits if correction is None else correction(logits)

    def learn(self, batch: Batch) -> None:
        """Move the state by what the batch shows."""

    def label(self, batch: Batch) -> None:
        """Move the state by rows with true answers; a method without use for labels ignores them."""

    def __call__(self, batch: Batch) -> Tensor:
        """Answer a batch, then learn from it: logits (B, width)."""
        self.propose(batch)
        logits = self.answer(batch)
        self.learn(batch)
        return logits

    def back_to(self, state: ElasticState) -> None:
        """Take back the state of before, where moments of a batch alone moved it; the next batch renews those."""
        self.state = state

    def memory(self) -> dict[str, Tensor]:
        """What the method keeps beside the state, to be saved with a stream. Its tensors are never written in place."""
        return {}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""

    def slopes(
        self, loss: Callable[[ElasticState], Tensor | None], at: ElasticState, moves: Callable[[str], bool]
    ) -> dict[str, Tensor]:
        """Slopes of a loss at a state by the dials whose name satisfies `moves`; none where it is None or not finite.

        Only the dials' slopes are asked for: the source's weights, shared with other streams, get none.
        """
        free = at.select(moves).trainable()
        if not free:
            raise ConfigError(f"{type(self).__name__} moves dials that this model does not have.")
        state = at.updated(free)
        with applied(state), torch.enable_grad():
            value = loss(state)
        if value is None:
            return {}
        slopes = free.slopes(value)
        finite = bool(torch.isfinite(value)) and all(bool(slope.isfinite().all()) for slope in slopes.values())
        return slopes if finite else {}

    def descend(
        self,
        loss: Callable[[ElasticState], Tensor],
        start: ElasticState,
        moves: Callable[[str], bool],
        lr: float,
        steps: int,
    ) -> ElasticState:
        """A fresh Adam on the dials whose name satisfies `moves`, from `start`, slopes clipped to length one; the rest
        stays. The result is inside the trust region; a step without a finite loss and slope ends the descent.
        """
        descent, state = Descent(lr), start
        for _ in range(steps):
            slopes = self.slopes(loss, state, moves)
            if not slopes:
                break
            state = descent(state, clipped_slopes(slopes, 1.0))
        return state.clipped(RADIUS)


def is_norm(name: str) -> bool:
    """Dials of the norms.

    >>> is_norm("trunk.norm.scale"), is_norm("inputs.text0.layer.0.LayerNorm.elastic.shift"), is_norm("output.bias")
    (True, True, False)
    """
    _, part, dial = ("." + name).rsplit(".", 2)
    return part.startswith("norm") or (part == CHILD and dial in ("scale", "shift"))


def is_attention(name: str) -> bool:
    """Dials inside attention.

    >>> is_attention("trunk.blocks.0.attention.q_scale"), is_attention("layer.0.attention.self.elastic.log_beta")
    (True, True)
    """
    _, part, dial = ("." + name).rsplit(".", 2)
    return part == "attention" or (part == CHILD and dial not in ("scale", "shift"))

"""Rows kept for later updates: a uniform random sample, of bounded size, of every row seen so far.

Algorithm R (Vitter 1985, Random sampling with a reservoir): the t-th row of all, t = 0, 1, ..., is kept at place t as
long as there is room for `limit` rows; later it takes the place of kept row j, drawn evenly from 0 ... t, if j < limit.
So each of the `seen` rows is kept with probability limit / seen, and a kept row stands for seen / kept of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from aet.attention.state import under
from aet.batch import Batch

VALUE = "values."


@dataclass(frozen=True)
class Reservoir:
    """Encoded rows with targets and weights, those held out from training among them; never changed in place.

    >>> rows = Batch({"x": torch.arange(10.0)}, target=torch.zeros(10))
    >>> kept = Reservoir.empty(limit=4).take(rows, held=False, task=0, seed=0)
    >>> len(kept), kept.seen, kept.part(held=False).weight.tolist()
    (4, 10, [2.5, 2.5, 2.5, 2.5])
    """

    limit: int
    seen: int
    rows: Batch | None
    """Target (N,) or (N, K) and weight (N,) are always there; None before the first row."""
    held: Tensor  # (N,) boolean: never trained on
    task: Tensor  # (N,): 0 came with training, k with the k-th update

    @classmethod
    def empty(cls, limit: int) -> Reservoir:
        """Room for `limit` rows."""
        return cls(limit, 0, None, torch.empty(0, dtype=torch.bool), torch.empty(0, dtype=torch.long))

    def __len__(self) -> int:
        return 0 if self.rows is None else len(self.rows)

    @property
    def stands_for(self) -> float:
        """How many rows each kept row stands for."""
        return self.seen / len(self) if len(self) else 0.0

    def take(self, rows: Batch, held: bool | Tensor, task: int, seed: int) -> Reservoir:
        """The sample after these rows too; rows of weight 0 were never there. The order is drawn from the seed."""
        weight = torch.ones(len(rows)) if rows.weight is None else rows.weight
        marks = torch.full((len(rows),), held) if isinstance(held, bool) else held
        index = (weight > 0).nonzero().flatten()
        rows = Batch({n: t[index].cpu() for n, t in rows.values.items()}, cut(rows.target, index), weight[index])
        marks, count = marks[index], len(index)
        slots = self.draws(count, seed)  # which row of [kept, given] each place holds
        together = rows if self.rows is None else Batch.concat([self.rows, rows])
        tasks = torch.cat([self.task, torch.full((count,), task)])
        return Reservoir(
            self.limit, self.seen + count, together[slots], torch.cat([self.held, marks])[slots], tasks[slots]
        )

    def after(self, train: Batch, valid: Batch, task: int, seed: int) -> Reservoir:
        """The sample after the rows of one training or update, and those that it held out."""
        held = torch.arange(len(train) + len(valid)) >= len(train)
        return self.take(Batch.concat([train, valid]), held, task, seed)

    def draws(self, count: int, seed: int) -> Tensor:
        """Algorithm R for `count` rows: places (N,) in kept and given rows together."""
        generator = np.random.default_rng([seed, self.seen])
        free = min(self.limit - len(self), count)
        slots = np.arange(len(self) + free)
        late = np.arange(free, count)
        place = generator.integers(0, self.seen + late + 1)
        taken = place < self.limit
        slots[place[taken]] = len(self) + late[taken]  # of rows that draw one place the last stays, as one by one
        return torch.from_numpy(slots)

    def part(self, held: bool) -> Batch | None:
        """The kept rows that are held out, or the others, each with its weight times the rows it stands for."""
        index = (self.held == held).nonzero().flatten()
        if self.rows is None or not len(index):
            return None
        chosen = self.rows[index]
        assert chosen.weight is not None
        return replace(chosen, weight=chosen.weight * self.stands_for, positions=index)

    def tensors(self) -> dict[str, Tensor]:
        """Everything, by name, for safetensors."""
        named = {"held": self.held, "task": self.task, "counts": torch.tensor([self.limit, self.seen])}
        if self.rows is not None:
            assert self.rows.target is not None
            assert self.rows.weight is not None
            named |= {f"{VALUE}{name}": t for name, t in self.rows.values.items()}
            named |= {"target": self.rows.target, "weight": self.rows.weight}
        return {name: t.contiguous() for name, t in named.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Reservoir:
        """What `tensors` gave; KeyError if a part is missing."""
        limit, seen = tensors["counts"].tolist()
        values = under(VALUE, tensors)
        rows = Batch(values, tensors["target"], tensors["weight"]) if values else None
        return cls(limit, seen, rows, tensors["held"], tensors["task"])


def cut(tensor: Tensor | None, index: Tensor) -> Tensor:
    """Rows of a target, which is always there."""
    assert tensor is not None
    return tensor[index].cpu()

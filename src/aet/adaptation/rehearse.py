"""Rehearsals of label-free adaptation on the validation rows of a trained model: `aet.adaptation.portfolio`."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aet.adaptation.comparison import figures
from aet.adaptation.methods.mixture import Mixture
from aet.adaptation.proposals import proposed
from aet.batch import Batch
from aet.model import Model
from aet.outputs.label import LabelOutput

ROWS, CHUNK = 256, 64
LEAST = 50
"""Validation rows from which rehearsals say something."""
AMOUNTS = (0.0, 0.3, 0.6, 1.0, 1.5)
MIXES = (None, None, 0.5, 0.05)
"""Concentration of the Dirichlet draw of a world's mix; None is the mix as it was. The most uneven come sorted."""


@torch.no_grad()
def rehearse(model: Model, valid: Batch) -> dict[str, Tensor] | None:
    """What `Portfolio` takes; None where `mixture` does not apply, rows are too few or `train.rehearsals` is 0."""
    output, statistics, worlds = model.output, model.known_statistics(), model.config.train.rehearsals
    if not isinstance(output, LabelOutput) or not statistics.inputs or len(valid) < LEAST or not worlds:
        return None
    mix, usual = statistics.label_mix, float(output.probabilities(model.logits(valid)).max(-1).values.mean())
    assert mix is not None
    generator = torch.Generator().manual_seed(model.config.seed)
    found, gains, places = [], [], []
    for number in range(worlds):
        world = aged(model, drawn(valid, output.width, generator), generator)
        assert world.target is not None
        pairs = paired(model, output, world)
        for truth, (p, q) in list(zip(world.target.split(CHUNK), pairs, strict=True))[1:]:
            answers = proposed(p, q, mix)
            found.append(torch.stack([figures(p, r, usual, mix) for r in answers]))
            right, *others = ((r.argmax(-1) == truth).float().mean() for r in (p, *answers))
            gains.append(torch.stack(others) - right)
            places.append(number)
    return {
        "figures": torch.stack(found).float(),
        "gain": torch.stack(gains),
        "world": torch.tensor(places),
        "usual": torch.tensor(usual),
    }


def paired(model: Model, output: LabelOutput, world: Batch) -> list[tuple[Tensor, Tensor]]:
    """Of each chunk of rows what the source says and what the proposal says that the rows before it led to."""
    method, pairs = Mixture(model), []
    for index in torch.arange(len(world)).split(CHUNK):
        chunk = world[index]
        p, q = output.probabilities(model.logits(chunk)), output.probabilities(method.answer(chunk))
        pairs.append((p, q))
        method.told(chunk, q[method.places(len(q))])
    return pairs


def drawn(valid: Batch, classes: int, generator: torch.Generator) -> Batch:
    """Rows of a world with a mix of its own, in an order of its own."""
    assert valid.target is not None
    kind = MIXES[int(torch.randint(len(MIXES), (), generator=generator))]
    if kind is None:
        return valid[torch.randint(len(valid), (ROWS,), generator=generator)]
    # Dirichlet shares from gamma draws; classes without a validation row cannot be drawn.
    there = torch.bincount(valid.target, minlength=classes) > 0
    shares = torch._standard_gamma(torch.full((classes,), kind), generator=generator).clamp_min(1e-30) * there
    wanted = torch.multinomial(shares, ROWS, replacement=True, generator=generator)
    wanted = wanted.sort().values if kind == min(k for k in MIXES if k) else wanted
    rows = [torch.nonzero(valid.target == c).flatten() for c in range(classes)]
    picks = torch.rand(ROWS, generator=generator)
    return valid[torch.stack([rows[c][int(pick * len(rows[c]))] for c, pick in zip(wanted, picks, strict=True)])]


def aged(model: Model, batch: Batch, generator: torch.Generator) -> Batch:
    """The rows as devices that wore out by some amount would give them."""
    amount = AMOUNTS[int(torch.randint(len(AMOUNTS), (), generator=generator))]
    if amount == 0:
        return batch
    return replace(batch, values={n: part.aged(batch.values[n], amount, generator) for n, part in model.parts()})

"""Rehearsals of label-free adaptation on the validation rows of a trained model: `aet.adaptation.portfolio`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from aet.adaptation.comparison import figures
from aet.adaptation.methods.mixture import Mixture
from aet.adaptation.proposals import proposed
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.model import Model
from aet.outputs.label import LabelOutput

ROWS, CHUNK = 256, 64
TOGETHER, LARGEST = 12, 2**23
"""Worlds whose rows pass through the model side by side at most, and numbers that they may take."""
PIECE = 512
"""Rows of them at a time."""
LEAST = 50
"""Validation rows from which rehearsals say something."""
AMOUNTS = (0.0, 0.3, 0.6, 1.0, 1.5)
MIXES = (None, None, 0.5, 0.05)
"""Concentration of the Dirichlet draw of a world's mix; None is the mix as it was. The most uneven come sorted."""
STRETCHES, SHORTEST = (1, 2, 4, 8), 32
"""The rows of a world come from a stretch of all that is one of these parts of them, and of no fewer rows."""


@torch.no_grad()
def rehearse(
    model: Model, valid: Batch, logits: Tensor | None = None, worlds: int | None = None
) -> dict[str, Tensor] | None:
    """What `Portfolio` takes; None where `mixture` does not apply, rows are too few or there are to be no worlds.

    `logits` (B, width) of the validation rows, where they are known; `worlds` in place of `train.rehearsals`.
    """
    output, statistics = model.output, model.known_statistics()
    worlds = model.config.train.rehearsals if worlds is None else worlds
    if not worlds or not rehearsable(model, len(valid)):
        return None
    assert isinstance(output, LabelOutput)
    logits = model.logits(valid) if logits is None else logits
    mix, usual = statistics.label_mix, float(output.probabilities(logits).max(-1).values.mean())
    assert mix is not None
    generator = torch.Generator().manual_seed(model.config.seed)
    found, gains, places, reached = [], [], [], []
    world = ROWS * sum(values[0].numel() for values in valid.values.values())
    for numbers in torch.arange(worlds).split(max(1, min(TOGETHER, LARGEST // world))):
        batches = [aged(model, drawn(valid, output.width, generator), generator) for _ in numbers]
        said = answered(model, output, batches)
        for number, batch, (p, q, moved) in zip(numbers.tolist(), batches, said, strict=True):
            assert batch.target is not None
            reached += moved
            later = (x[CHUNK:].split(CHUNK) for x in (batch.target, p, q))
            for truth, source, proposal in zip(*later, strict=True):
                answers = proposed(source, proposal, mix)
                found.append(torch.stack([figures(source, r, usual, mix) for r in answers]))
                right, *others = ((r.argmax(-1) == truth).float().mean() for r in (source, *answers))
                gains.append(torch.stack(others) - right)
                places.append(number)
    return {
        "figures": torch.stack(found).float(),
        "gain": torch.stack(gains),
        "world": torch.tensor(places),
        "moved": torch.tensor(reached),
        "usual": torch.tensor(usual),
    }


def rehearsable(model: Model, rows: int) -> bool:
    """Whether so many validation rows say something, and of a model that `mixture` applies to."""
    return isinstance(model.output, LabelOutput) and bool(model.known_statistics().inputs) and rows >= LEAST


def answered(model: Model, output: LabelOutput, worlds: Sequence[Batch]) -> list[tuple[Tensor, Tensor, list[float]]]:
    """Of each world what the source says, what the proposal says that the rows before each chunk led to, and how far
    that moved the inputs.

    Of the first chunk, where nothing is proposed yet, only the rows that `mixture` looks at are answered.
    """
    methods, rows = [Mixture(model) for _ in worlds], len(worlds[0])
    looked = methods[0].places(CHUNK)
    asked = torch.cat([looked, torch.arange(CHUNK, rows)])
    p = torch.full((len(worlds), rows, output.width), torch.nan)
    p[:, asked] = probabilities(model, output, [world[asked] for world in worlds])
    q = p.clone()
    moved: list[list[float]] = [[] for _ in worlds]
    for index in torch.arange(rows).split(CHUNK):
        chunks = [world[index] for world in worlds]
        if index[0]:
            q[:, index] = probabilities(model, output, chunks, [method.state for method in methods])
            for far, method in zip(moved, methods, strict=True):
                far.append(method.moved)
        if index[-1] < rows - 1:
            for method, chunk, answers in zip(methods, chunks, q[:, index], strict=True):
                method.told(chunk, answers[looked])
    return list(zip(p, q, moved, strict=True))


def probabilities(
    model: Model, output: LabelOutput, worlds: Sequence[Batch], states: Sequence[ElasticState] | None = None
) -> Tensor:
    """Of the rows of each world, as many in each, under its state or the source's: (W, N, C). Equal rows pass once."""
    rows, size = Batch(Batch.concat(worlds).values), len(worlds[0])
    world = torch.arange(len(worlds)).repeat_interleave(size)
    each = [values.flatten(1).double() for values in rows.values.values()]
    # A missing cell equals no other: it is compared as a mark.
    flat = torch.cat([part for x in each for part in (x.nan_to_num(0.0), x.isnan().double())], 1)
    if states is not None:
        flat = torch.cat([world[:, None].to(flat), flat], 1)
    _, place = flat.unique(dim=0, return_inverse=True)
    first = torch.full((int(place.max()) + 1,), len(place)).scatter_reduce_(0, place, torch.arange(len(place)), "amin")
    moved = None
    if states is not None:
        # `mixture` moves inputs alone; what is left out stays at the source and costs nothing.
        inputs = [state.select(lambda name: name.startswith("inputs.")) for state in states]
        moved = ElasticState.stack(inputs).rows(world[first])
    with applied(moved):
        answers = output.probabilities(model.logits(rows[first], min(PIECE, model.rows_at_once())))
    return answers[place].view(len(worlds), size, -1)


def drawn(valid: Batch, classes: int, generator: torch.Generator) -> Batch:
    """Rows of a world with a mix of its own, in an order of its own, of one stretch of all.

    Rows that were taken down together are alike, as on a walk or in a season: what moves there beside the answers looks
    like wear, and worlds of rows from everywhere do not show that to take it back loses.
    """
    count = STRETCHES[int(torch.randint(len(STRETCHES), (), generator=generator))]
    size = max(len(valid) // count, SHORTEST)
    valid = valid[int(torch.randint(len(valid) - size + 1, (), generator=generator)) + torch.arange(size)]
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

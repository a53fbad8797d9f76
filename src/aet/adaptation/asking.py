"""A stream's rows that are worth a label: drawn, and compared as they were answered at that moment."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aet.adaptation.ask import LOOKED, draw, evenly, span
from aet.attention.state import applied
from aet.batch import Batch
from aet.summaries import summaries

if TYPE_CHECKING:
    from aet.adaptation.base import Method
    from aet.adaptation.kept import Among
    from aet.adaptation.stream import Stream

ROUNDING = 1e-6
"""Differences below it are of the order of rounding."""


def ask(stream: Stream, count: int, newest: int) -> list[Hashable]:
    """Ids of at most `count` of the newest rows kept.

    Rows are drawn from such as no draw has looked at, half of them and `LOOKED` at most: those that earlier draws left
    over are no even sample of the stream any more, since the rest was taken for what it could say. Where too few are
    left, some that were looked at are asked for too; their labels teach, and have no weight. A guard that hears of no
    label needs no such care.
    """
    kept, start = stream.kept, max(0, len(stream.kept) - newest)
    taken = ~np.isnan(kept.weights[start:])
    taken |= np.array([known in stream._undone or known in kept.coming for known in kept.ids[start:]], dtype=bool)
    judged = stream.guard.needs_labels
    fresh = np.flatnonzero(~taken & ~(judged & kept.looked[start:]))
    most = min(max(LOOKED, count), max(4 * count, len(fresh) // 2) if judged else len(fresh))
    even = evenly(fresh, most, stream._rng)
    ids = drawn(stream, start + np.flatnonzero(taken), start + even, count)
    kept.looked[start + even] = True
    left = start + np.flatnonzero(~taken & np.isnan(kept.weights[start:]))
    if len(ids) < count and len(left):
        asked = start + np.flatnonzero(~np.isnan(kept.weights[start:]))
        ids += drawn(stream, asked, evenly(left, LOOKED, stream._rng), count - len(ids), weighted=False)
    return ids


def drawn(stream: Stream, taken: np.ndarray, free: np.ndarray, count: int, weighted: bool = True) -> list[Hashable]:
    """Ids of at most `count` of the rows kept at the places `free`; those at `taken` were asked before. If the draw is
    `weighted` the guard is told what their labels can say, and how both answered them is sealed.
    """
    if not len(free):
        return []
    places = np.sort(np.concatenate([taken, free]))
    gone = np.isin(places, taken)
    batch, output, known = stream.kept.batch[torch.from_numpy(places)], stream.model.output, stream.kept.ids
    with applied(stream.method.state):
        summary, proposal = summaries(stream.model, batch)
    stream.trace.passes["asking"] += len(batch)
    unsure = output.uncertainty(proposal).double().numpy()
    source = apart = None
    if stream.guard.needs_labels and weighted:
        if stream.method.in_calls:
            proposal = answered_among(stream, stream.kept.among(places))
        elif stream.method.corrects:
            before = stream.method.passes
            proposal = stream.method.answer(batch).cpu()
            stream.trace.passes["asking"] += len(batch) + stream.method.passes - before
        source = said_by_source(stream, [known[i] for i in places], batch, proposal)
        apart = differences(output.apart(source, proposal))
    positions, weights = draw(summary.double().numpy(), unsure, gone, count, stream._rng, apart)
    stream.kept.mark_asked(places[positions], weights if weighted else np.zeros(len(positions)))
    ids = [known[i] for i in places[positions]]
    if source is None or apart is None:
        return ids
    over = None
    if output.rival:
        most = differences(output.apart(output.unlearned(source), proposal))
        over = most[positions].tolist(), span(apart, gone, count, most)
    stream.guard.expect(ids, weights.tolist(), apart[positions].tolist(), span(apart, gone, count), over)
    stream.sealed.keep(stream.kept.place)
    stream.sealed.add(ids, *(said[torch.from_numpy(positions)] for said in (source, proposal)))
    return ids


def answered_among(stream: Stream, among: Among) -> Tensor:
    """The proposal's logits (N, width) of rows among those that came with them: what it would be served."""
    method, before = stream.method, stream.method.passes
    correction = method.correction
    if correction is None:
        said = [method.answer(among.rows[rows]) for rows in torch.arange(len(among.rows)).split(among.sizes)]
    else:
        logits = method.answer_under(among.rows, method.state).cpu()
        both = torch.cat([logits, among.said]) if len(among.said) else logits
        said = [correction(some) for some in both[torch.from_numpy(among.order)].split(among.sizes)]
    stream.trace.passes["asking"] += len(among.rows) + method.passes - before
    return torch.cat(said)[torch.from_numpy(among.where)].cpu()


def labelled(stream: Stream, places: np.ndarray, rows: Batch, heard: bool) -> tuple[np.ndarray, Tensor | None]:
    """Rows kept at these places leave with their labels: their weights, and, where the guard hears of them, what the
    proposal says to them now (N, width), before any of them taught it; None where a row is answered by itself.
    """
    now = answered_among(stream, stream.kept.among(places)) if heard and stream.method.in_calls else None
    if stream.method.correction is None:
        return stream.kept.leave(places), now
    stream.trace.passes["scoring"] += len(rows)
    return stream.kept.leave(places, by_itself(stream.method, rows)), now


def by_itself(method: Method, rows: Batch) -> Tensor:
    """The proposal's logits (N, width) of rows of which none stands beside another."""
    corrected = method.correction is not None
    return (method.answer_under(rows, method.state) if corrected else method.answer(rows)).cpu()


def differences(apart: Tensor) -> np.ndarray:
    """(N,), nothing where it is but rounding."""
    found = apart.double().numpy()
    return np.where(found < ROUNDING, 0.0, found)


def said_by_source(stream: Stream, ids: Sequence[Hashable], rows: Batch, proposal: Tensor) -> Tensor:
    """The source's logits (N, width): the proposal's, if nothing moved; those that it gave before cost no pass."""
    if not (stream.method.in_calls or stream.method.corrects or stream.method.state.size()):
        return proposal
    said = stream.answered.source(ids)
    bare = [place for place, logits in enumerate(said) if logits is None]
    stream.trace.passes["asking"] += len(bare)
    found = iter(stream.model.logits(rows[torch.tensor(bare)]).cpu() if bare else ())
    return torch.stack([next(found) if logits is None else logits for logits in said])


def comparisons(
    stream: Stream,
    rows: Batch,
    weights: np.ndarray,
    asked: Sequence[Hashable | None],
    now: Tensor | None = None,
) -> Iterator[tuple[float, float, Hashable | None, float]]:
    """Gain over the source, weight, id and gain over the rival of each labelled row with a weight.

    Of rows that were asked, whose ids these are, the answers of that moment are compared; of others, whose labels came
    at random, those of `now` if they are given (N, width), else each by itself.
    """
    output, said, bare = stream.model.output, dict[int, Tensor](), []
    for place in np.flatnonzero(~np.isnan(weights)).tolist():
        known = asked[place]
        both = None if known is None else stream.sealed.take(known, output.width)
        if both is not None:
            said[place] = both
        elif known is None:
            bare.append(place)
    if bare:
        some = rows[torch.tensor(bare)]
        stream.trace.passes["scoring"] += 2 * len(bare)
        proposal = by_itself(stream.method, some) if now is None else now[torch.tensor(bare)]
        both = torch.stack([stream.model.logits(some).cpu(), proposal], 1)
        said |= dict(zip(bare, both, strict=True))
    if not said:
        return
    places = sorted(said)
    chosen = rows[torch.tensor(places)]
    assert chosen.target is not None
    source, proposal = torch.stack([said[place] for place in places], 1)
    score, known = output.scores(proposal, chosen.target), output.scores(source, chosen.target)
    rival = output.scores(output.unlearned(source), chosen.target) if output.rival else known
    gains = torch.stack([score - known, score - rival], -1).nan_to_num().tolist()
    for place, (gain, over) in zip(places, gains, strict=True):
        yield gain, float(weights[place]), asked[place], over

"""A stream's rows that are worth a label: drawn, and compared as they were answered at that moment."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aet.adaptation.ask import draw, span
from aet.attention.state import applied
from aet.batch import Batch
from aet.summaries import summaries

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream


def drawn(stream: Stream, places: np.ndarray, taken: np.ndarray, count: int) -> list[Hashable]:
    """Ids of at most `count` of the rows kept at these places, but for those that are taken; the guard is told what
    their labels can say, and how both answered them is kept for that.
    """
    batch, output, known = stream.kept.batch[torch.from_numpy(places)], stream.model.output, stream.kept.ids
    with applied(stream.method.state):
        summary, proposal = summaries(stream.model, batch)
    stream.trace.passes["asking"] += len(batch)
    unsure = output.uncertainty(proposal).double().numpy()
    source = apart = None
    if stream.guard.needs_labels:
        if stream.method.corrects:
            proposal = stream.method.answer(batch).cpu()
            stream.trace.passes["asking"] += len(batch)
        source = said_by_source(stream, [known[i] for i in places], batch)
        apart = output.apart(source, proposal).double().numpy()
    positions, weights = draw(summary.double().numpy(), unsure, taken, count, stream._rng, apart)
    stream.kept.mark_asked(places[positions], weights)
    ids = [known[i] for i in places[positions]]
    if source is None or apart is None or not ids:
        return ids
    over = None
    if output.rival:
        most = output.apart(output.unlearned(source), proposal).double().numpy()
        over = most[positions].tolist(), span(apart, taken, count, most)
    stream.guard.expect(ids, weights.tolist(), apart[positions].tolist(), span(apart, taken, count), over)
    stream.compared.keep(stream.kept.place)
    stream.compared.add(ids, *(said[torch.from_numpy(positions)] for said in (source, proposal)))
    return ids


def said_by_source(stream: Stream, ids: Sequence[Hashable], rows: Batch) -> Tensor:
    """The source's logits (N, width); those that it gave before cost no pass."""
    said = stream.answered.source(ids)
    bare = [place for place, logits in enumerate(said) if logits is None]
    stream.trace.passes["asking"] += len(bare)
    found = iter(stream.model.logits(rows[torch.tensor(bare)]).cpu() if bare else ())
    return torch.stack([next(found) if logits is None else logits for logits in said])


def comparisons(
    stream: Stream, rows: Batch, weights: np.ndarray, asked: Sequence[Hashable | None]
) -> Iterator[tuple[float, float, Hashable | None, float]]:
    """Gain over the source, weight, id and gain over the rival of each labelled row with a weight.

    Of rows that were asked, whose ids these are, the answers of that moment are compared, of others those of now: of
    rows that came at random, and of those that an earlier version asked for.
    """
    usable = np.flatnonzero(~np.isnan(weights))
    if not len(usable):
        return
    chosen, output = rows[torch.from_numpy(usable)], stream.model.output
    assert chosen.target is not None
    said = [None if known is None else stream.compared.take(known) for known in (asked[i] for i in usable.tolist())]
    bare = [place for place, both in enumerate(said) if both is None]
    if bare:
        some = chosen[torch.tensor(bare)]
        stream.trace.passes["scoring"] += 2 * len(bare)
        now = torch.stack([stream.model.logits(some).cpu(), stream.method.answer(some).cpu()], 1)
        for place, both in zip(bare, now, strict=True):
            said[place] = both
    source, proposal = torch.stack([both for both in said if both is not None], 1)
    score, known = output.scores(proposal, chosen.target), output.scores(source, chosen.target)
    rival = output.scores(output.unlearned(source), chosen.target) if output.rival else known
    gains = torch.stack([score - known, score - rival], -1).nan_to_num().tolist()
    for place, (gain, over) in zip(usable.tolist(), gains, strict=True):
        yield gain, float(weights[place]), asked[place], over

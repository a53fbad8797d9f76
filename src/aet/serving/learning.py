"""What streams learn after their answers are given: one thread, in order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from aet.adaptation.given import truth
from aet.adaptation.stream import Stream
from aet.adaptation.together import Part
from aet.batch import Batch
from aet.errors import FeedbackError
from aet.serving.cells import frame_of
from aet.serving.residents import Resident
from aet.serving.store import Label, Store

log = logging.getLogger(__name__)
WAITING = 1024
"""Batches that may wait to be learned from; labels always may, they are in the store."""


Labelled = Callable[[Resident, Batch, npt.NDArray[np.float64]], None]
"""Told of a stream's labelled rows and the weights they were drawn with: where monitoring looks on."""


class Learner:
    """A thread that lets streams learn from answered rows and from labels, each stream in the order of its requests."""

    def __init__(self, store: Store, labelled: Labelled | None = None) -> None:
        self.store, self.labelled = store, labelled
        self.passed_over = 0
        """Rows that nothing was learned from, since too many batches waited."""
        self.waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aet-learner")
        self._lock = threading.Lock()

    def follow(self, resident: Resident, part: Part) -> None:
        """Let the method learn from answered rows."""

        def act() -> None:
            part.learn()
            resident.moved = True

        if not self.later(resident, act, part.rows):
            self.passed_over += part.rows

    def later(self, resident: Resident, act: Callable[[], None], rows: int | None) -> bool:
        """Act in turn, after what came before; not, and False, where too many batches of `rows` wait."""
        if rows is not None and self.waiting >= WAITING:
            return False
        self._add(resident, act)
        return True

    def teach(self, resident: Resident, labels: Sequence[Label]) -> Future[None]:
        """Let the stream learn labels that the store holds; done once it has."""
        coming, given = resident.stream.kept.coming, {label.id for label in labels}
        coming |= given

        def act() -> None:
            resident.teaching = True
            try:
                self._teach(resident, labels)
            finally:
                coming.difference_update(given)
                resident.teaching = False

        return self._add(resident, act)

    def wait(self) -> None:
        """Until all that was given so far is learned."""
        self._thread.submit(int).result()

    def stop(self) -> None:
        """Finish, and end the thread."""
        self._thread.shutdown()

    def _add(self, resident: Resident, act: Callable[[], None]) -> Future[None]:
        resident.take()  # the stream stays in memory until it has learned
        with self._lock:
            self.waiting += 1

        def done(future: Future[None]) -> None:
            resident.free()
            with self._lock:
                self.waiting -= 1
            if future.exception() is not None:
                log.error("A stream did not learn.", exc_info=future.exception())

        future = self._thread.submit(act)
        future.add_done_callback(done)
        return future

    def _teach(self, resident: Resident, labels: Sequence[Label]) -> None:
        """Rows that the stream no longer keeps are taken in again from the store, if their values are there as sent."""
        stream, number = resident.stream, resident.line.number
        with stream._lock:
            fresh = [label for label in labels if label.id not in stream.kept.labelled]
            lost = [label.id for label in fresh if label.id not in stream.kept.place]
            known = self.store.values(number, lost) if lost else {}
            usable = [row for row in known.values() if row.values is not None and not row.masked]
            if usable:
                frame = frame_of(stream.model.schema, [row.values for row in usable if row.values is not None])
                stream.recall([row.id for row in usable], frame)
            ready = [label for label in fresh if label.id in stream.kept.place]
            aside = len(fresh) - len(ready)
            for free in (False, True):
                aside += self._feed(resident, [label for label in ready if label.at_random is free])
            if aside:
                text = (
                    f"{aside} labels are kept for retraining only: the stream no longer keeps their rows, and the "
                    "store has no values of them, or masked ones"
                )
                stream.trace.event(stream.rows, "unlearned", text)
            resident.learned += [label.id for label in labels]
            resident.moved = True

    def _feed(self, resident: Resident, labels: Sequence[Label]) -> int:
        """The labels at once; those that do not fit are left out and counted."""
        if not labels:
            return 0
        ids, values = [label.id for label in labels], [label.label for label in labels]
        try:
            drawn = None if self.labelled is None else drawn_rows(resident.stream, ids, values, labels[0].at_random)
            resident.stream.feedback(ids, values, at_random=labels[0].at_random)
        except FeedbackError as error:
            if len(labels) == 1:
                resident.stream.trace.event(resident.stream.rows, "unlearned", str(error))
                return 1
            return sum(self._feed(resident, [label]) for label in labels)
        if self.labelled is not None and drawn is not None:
            self.labelled(resident, *drawn)
        return 0


def drawn_rows(
    stream: Stream, ids: Sequence[Hashable], labels: Sequence[Any], at_random: bool
) -> tuple[Batch, npt.NDArray[np.float64]] | None:
    """Of labelled rows that are kept, those that `ask` drew or that came at random, with their weights; None if none.

    Raises FeedbackError for a label that the model cannot give.
    """
    ids, targets = truth(stream.model, ids, labels)
    places = np.array([stream.kept.place[known] for known in ids], dtype=np.int64)
    weights = stream.drawn(ids, stream.kept.weights[places], at_random)
    chosen = np.flatnonzero(~np.isnan(weights))
    if not len(chosen):
        return None
    rows = stream.kept.batch[torch.from_numpy(places[chosen])]
    return Batch(values=rows.values, target=targets[torch.from_numpy(chosen)]), weights[chosen]

"""Rows of many requests, answered together: a batch is taken as soon as the last one is computed.

Two threads work side by side: one computes a batch while the other writes the one before down. Rows wait in one queue,
which is bounded in rows; what does not fit is refused at once, and what waited too long is not computed any more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from aet.errors import AetError, ConfigError
from aet.serving.asks import Answers, Ask, gone
from aet.serving.refusals import Busy, Elsewhere, Stopping, TooLate
from aet.serving.service import Service

WRITES = 4
"""Batches that may wait to be written down."""


@dataclass
class Waiting:
    """A request that waits for its answers."""

    ask: Ask
    future: asyncio.Future[Answers]
    since: float = field(default_factory=time.perf_counter)


Batch = Callable[[int, int, float], None]
"""Told of each batch: requests, rows, seconds."""


class Batcher:
    """Runs in one event loop; `start` and `stop` it there.

    Args:
        service: what answers.
        rows: most rows of a batch; a larger request goes alone.
        wait: seconds to wait for more rows when nothing is computed.
        queue: most rows that wait, those of a single request not counted.
        deadline: seconds within which a request is answered.
        told: called with each batch.
    """

    def __init__(
        self,
        service: Service,
        rows: int = 64,
        wait: float = 0.005,
        queue: int = 8192,
        deadline: float = 30.0,
        told: Batch = lambda requests, rows, seconds: None,
    ) -> None:
        if rows < 1 or queue < 1 or wait < 0 or deadline <= 0:
            raise ConfigError(
                f"A batch takes 1 row or more, waits 0 seconds or longer and has a deadline above 0; got rows={rows}, "
                f"queue={queue}, wait={wait}, deadline={deadline}."
            )
        self.service, self.rows, self.wait, self.queue, self.deadline = service, rows, wait, queue, deadline
        self.told = told
        self.waiting: deque[Waiting] = deque()
        self.held = 0
        """Rows that wait."""
        self.stopping = False
        self._come = asyncio.Event()
        self._full = asyncio.Event()
        self._model = ThreadPoolExecutor(1, thread_name_prefix="aet-model")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="aet-writer")
        self._loop: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to answer."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Take no more, and finish what was accepted."""
        self.stopping = True
        self._come.set()
        self._full.set()
        if self._loop is not None:
            await self._loop
        if self._writes:
            await asyncio.wait(self._writes)
        self._model.shutdown()
        self._writer.shutdown()

    async def predict(self, ask: Ask) -> Answers:
        """The answers to a request.

        Raises what the service raises; Busy if too many rows wait, TooLate after the deadline, Stopping at the end.
        """
        if self.stopping:
            raise Stopping("The server is stopping: it finishes what it accepted. Try again in a few seconds.")
        if self.held and self.held + len(ask.rows) > self.queue:
            raise Busy(f"{self.held:,} rows wait already, {self.queue:,} may. Try again in a second, or send fewer.")
        one = Waiting(ask, asyncio.get_running_loop().create_future())
        self.waiting.append(one)
        self.held += len(ask.rows)
        self._come.set()
        if self.held >= self.rows:
            self._full.set()
        try:
            async with asyncio.timeout(self.deadline):
                return await one.future
        except TimeoutError:
            raise TooLate(
                f"No answer within {self.deadline:g} seconds: the server has more to do than it can. Try again later, "
                "or send fewer rows at a time."
            ) from None

    async def _run(self) -> None:
        while True:
            await self._come.wait()
            if not self.waiting and self.stopping:
                return
            if self.held < self.rows and not self.stopping:
                await self._more()
            batch = self._take()
            if batch:
                await self._answer(batch)
            elif self.waiting:
                await asyncio.sleep(0.001)  # all of them are for streams that learn right now

    async def _more(self) -> None:
        """Wait for a full batch, not long."""
        self._full.clear()
        try:
            async with asyncio.timeout(self.wait):
                await self._full.wait()
        except TimeoutError:
            return

    def _take(self) -> list[Waiting]:
        """The next batch: in order, but without those whose client has gone or whose stream learns right now."""
        batch: list[Waiting] = []
        later: list[Waiting] = []
        skipped: set[tuple[str, str]] = set()
        rows = 0
        while self.waiting and (not batch or rows + len(self.waiting[0].ask.rows) <= self.rows):
            one = self.waiting.popleft()
            name = (one.ask.owner, one.ask.stream)
            if one.future.done():
                self.held -= len(one.ask.rows)
            elif name in skipped or self.service.teaching(*name):
                skipped.add(name)
                later.append(one)
            else:
                batch.append(one)
                rows += len(one.ask.rows)
                self.held -= len(one.ask.rows)
        self.waiting.extendleft(reversed(later))
        if not self.waiting:
            self._come.clear()
        if self.stopping:
            self._come.set()
        return batch

    async def _answer(self, batch: list[Waiting]) -> None:
        started = time.perf_counter()
        found = asyncio.get_running_loop().run_in_executor(self._model, self.service.answer, [one.ask for one in batch])
        await asyncio.wait([found])
        self.told(len(batch), sum(len(one.ask.rows) for one in batch), time.perf_counter() - started)
        fault = found.exception()
        if fault is not None:  # a fault of ours ends these requests, not the server
            for one in batch:
                settle(one, fault)
            return
        good: list[tuple[Waiting, Answers]] = []
        for one, answers in zip(batch, found.result(), strict=True):
            if isinstance(answers, Elsewhere):  # its stream was sent for: until it is here others pass
                self._back(one)
            elif isinstance(answers, AetError):
                settle(one, answers)
            else:
                good.append((one, answers))
        while len(self._writes) >= WRITES:
            await asyncio.wait(self._writes, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self._write(good))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    def _back(self, one: Waiting) -> None:
        """Into the queue again, where rows of other streams may pass it."""
        self.waiting.append(one)
        self.held += len(one.ask.rows)
        self._come.set()

    async def _write(self, good: Sequence[tuple[Waiting, Answers]]) -> None:
        """Write the answers down, then give them."""
        answers, rows = [found for _, found in good], [one.ask.rows for one, _ in good]
        written = asyncio.get_running_loop().run_in_executor(self._writer, self.service.write, answers, rows)
        await asyncio.wait([written])
        fault = written.exception()
        if fault is not None and len(good) > 1:  # nothing was written: each alone, so that one bears its own fault only
            for pair in good:
                await self._write([pair])
            return
        missing = set() if fault is not None else written.result()
        for one, found in good:
            settle(one, fault or (gone(found.stream) if found.number in missing else found))


def settle(one: Waiting, found: Answers | BaseException) -> None:
    """Give a request its answers, unless its client has gone."""
    if one.future.done():
        return
    if isinstance(found, BaseException):
        one.future.set_exception(found)
    else:
        one.future.set_result(found)

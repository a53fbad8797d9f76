"""Requests brought together: bounds, deadlines, order, and an orderly end."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from aet.errors import ConfigError
from aet.serving.asks import Answers, Ask
from aet.serving.batching import Batcher
from aet.serving.refusals import Busy, Stopping, TooLate


class Echo:
    """A service that answers with the rows, as slowly as it is told."""

    def __init__(self, seconds=0.0):
        self.seconds, self.batches, self.written = seconds, [], []
        self.learning = set()
        self.gate = threading.Event()
        self.gate.set()

    def answer(self, asks):
        self.gate.wait()
        time.sleep(self.seconds)
        self.batches.append([len(ask.rows) for ask in asks])
        return [Answers("m", "1", ask.stream, list(ask.rows)) for ask in asks]

    def write(self, answers, rows):
        self.written += [row for one in answers for row in one.rows]
        return set()

    def teaching(self, owner, stream):
        return stream in self.learning


def ask(value, rows=1, stream="s"):
    return Ask("local", stream, [{"v": value}] * rows)


def batched(coroutine, service=None, **settings):
    """The result of `coroutine(batcher)` while a batcher runs."""

    async def run():
        batcher = Batcher(service or Echo(), **settings)
        batcher.start()
        try:
            return await coroutine(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(run())


def test_requests_that_come_together_are_answered_together():
    service = Echo()

    async def all_at_once(batcher):
        return await asyncio.gather(*(batcher.predict(ask(n)) for n in range(150)))

    answers = batched(all_at_once, service, rows=64)
    assert [one.rows[0]["v"] for one in answers] == list(range(150))
    assert [sum(batch) for batch in service.batches] == [64, 64, 22]
    assert [row["v"] for row in service.written] == list(range(150))


def test_a_large_request_goes_alone_and_a_lone_one_does_not_wait_long():
    service = Echo()

    async def one_after_the_other(batcher):
        await asyncio.gather(batcher.predict(ask(1)), batcher.predict(ask(2, rows=500)), batcher.predict(ask(3)))
        started = time.perf_counter()
        await batcher.predict(ask(4))
        return time.perf_counter() - started

    assert batched(one_after_the_other, service, rows=64, wait=0.01) < 1
    assert service.batches == [[1], [500], [1], [1]]


def test_more_rows_than_the_queue_holds_are_refused_at_once():
    service = Echo()
    service.gate.clear()

    async def flood(batcher):
        first = asyncio.create_task(batcher.predict(ask(0)))
        await asyncio.sleep(0.05)  # it is being computed now
        held = [asyncio.create_task(batcher.predict(ask(n, rows=5))) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="10 rows wait"):
            await batcher.predict(ask(9))
        service.gate.set()
        await asyncio.gather(first, *held)
        return await batcher.predict(ask(7))

    assert batched(flood, service, queue=10, wait=0).rows == [{"v": 7}]


def test_what_waits_too_long_is_told_so_and_not_computed():
    service = Echo()
    service.gate.clear()

    async def late(batcher):
        given_up = [asyncio.create_task(batcher.predict(ask(n))) for n in range(3)]
        results = await asyncio.gather(*given_up, return_exceptions=True)
        service.gate.set()
        assert (await batcher.predict(ask(5))).rows == [{"v": 5}]
        assert batcher.held == 0
        return results

    results = batched(late, service, rows=1, wait=0, deadline=0.2)
    assert all(isinstance(one, TooLate) for one in results)
    assert len(service.batches) == 2  # the one that was begun, and the last


def test_the_end_finishes_what_was_accepted():
    service = Echo(seconds=0.01)

    async def run():
        batcher = Batcher(service, rows=4)
        batcher.start()
        accepted = [asyncio.create_task(batcher.predict(ask(n))) for n in range(30)]
        await asyncio.sleep(0)
        await batcher.stop()
        with pytest.raises(Stopping):
            await batcher.predict(ask(99))
        return await asyncio.gather(*accepted)

    assert [one.rows[0]["v"] for one in asyncio.run(run())] == list(range(30))
    assert len(service.written) == 30


def test_a_stream_that_learns_lets_others_pass_and_keeps_its_order():
    service = Echo()
    service.learning = {"busy"}

    async def run(batcher):
        waits = [asyncio.create_task(batcher.predict(ask(n, stream="busy"))) for n in range(3)]
        passes = await asyncio.gather(*(batcher.predict(ask(n, stream="free")) for n in range(3)))
        assert not any(task.done() for task in waits)
        service.learning = set()
        return passes, await asyncio.gather(*waits)

    batched(run, service, rows=2, wait=0)
    order = [row["v"] for row in service.written]
    assert order == [0, 1, 2, 0, 1, 2]


def test_a_fault_ends_its_batch_alone():
    service = Echo()
    broken = [True]

    def answer(asks):
        if broken.pop() if broken else False:
            raise ZeroDivisionError
        return Echo.answer(service, asks)

    service.answer = answer

    async def run(batcher):
        with pytest.raises(ZeroDivisionError):
            await batcher.predict(ask(1))
        return await batcher.predict(ask(2))

    assert batched(run, service).rows == [{"v": 2}]


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="deadline=0"):
        Batcher(Echo(), deadline=0)

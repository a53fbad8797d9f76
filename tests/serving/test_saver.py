"""Saving from time to time."""

from __future__ import annotations

import time

import pytest

from aet.errors import StoreError
from aet.serving.saver import Saver


class Slow:
    """Residents that take a while to be saved; some cannot be."""

    def __init__(self, streams, broken=(), seconds=0.002):
        self.streams, self.broken, self.seconds, self.saved = streams, set(broken), seconds, []

    def all(self):
        return list(range(self.streams))

    def save(self, stream, reason):
        time.sleep(self.seconds)
        if stream in self.broken:
            raise StoreError(f"stream {stream} cannot be saved")
        self.saved.append((stream, reason))


def test_one_that_cannot_be_saved_keeps_no_other_from_it():
    slow = Slow(5, broken=[1, 3])
    with pytest.raises(StoreError, match="stream 1"):
        Saver(slow, lambda: None, 60.0).save("now")
    assert slow.saved == [(0, "now"), (2, "now"), (4, "now")]


def test_versions_are_followed_in_time_however_many_streams_there_are():
    came = []
    slow = Slow(1000)  # at a fiftieth of the time a hundred seconds' work
    saver = Saver(slow, lambda: came.append(time.monotonic()), 0.2)
    started = time.monotonic()
    saver.start()
    while len(came) < 4 and time.monotonic() < started + 20:
        time.sleep(0.01)
    saved = len(slow.saved)
    saver.stop()
    assert len(came) >= 4
    assert came[0] >= started + 0.2
    assert came[3] < started + 5
    assert 0 < saved < 200


def test_a_stop_waits_for_no_rest_and_begins_nothing():
    slow = Slow(1000)
    saver = Saver(slow, lambda: None, 60.0)
    saver.stop()
    saver = Saver(slow, lambda: None, 60.0)
    saver.start()
    started = time.monotonic()
    saver.stop()
    assert time.monotonic() < started + 5
    assert not slow.saved
    assert not saver._thread.is_alive()


def test_what_cannot_be_saved_now_is_tried_again(caplog):
    slow = Slow(3, broken=[0])
    saver = Saver(slow, lambda: None, 0.05)
    saver.start()
    until = time.monotonic() + 20
    while len(slow.saved) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    saver.stop()
    assert [stream for stream, _ in slow.saved[:6]] == [1, 2, 1, 2, 1, 2]
    assert "stream 0 cannot be saved" in caplog.text

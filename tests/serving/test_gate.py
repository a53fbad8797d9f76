"""The gate that is closed while versions change, and the share of a canary."""

from __future__ import annotations

import threading

from aet.serving.gate import Gate
from aet.serving.models import Served


def test_a_gate_lets_those_inside_go_on_and_others_wait():
    gate, order = Gate(), []
    inside = threading.Event()

    def passes():
        with gate.passing():
            inside.set()
            order.append("first")
            closer.start()
            while not gate._shut:
                pass
            with gate.passing():
                order.append("again")

    def closes():
        with gate.closed():
            order.append("alone")

    closer = threading.Thread(target=closes)
    passer = threading.Thread(target=passes)
    passer.start()
    inside.wait(10)
    passer.join(10)
    closer.join(10)
    with gate.passing():
        order.append("after")
    assert order == ["first", "again", "alone", "after"]


def test_a_share_takes_streams_in_and_lets_none_out(model):
    one = Served("gas", "2", model)
    names = [f"s{n}" for n in range(400)]
    taken = [
        {name for name in names if Served("gas", "1", model, canary=one, share=share).of("ada", name) is one}
        for share in (0.1, 0.3)
    ]
    assert taken[0] < taken[1]
    assert 20 <= len(taken[0]) <= 60
    assert 85 <= len(taken[1]) <= 155

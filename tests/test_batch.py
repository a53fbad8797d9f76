"""What travels between the rooms."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aet.batch import Batch


def batch(rows, **without):
    parts = {
        "target": torch.arange(rows),
        "weight": torch.rand(rows),
        "positions": torch.arange(rows) + 100,
        "streams": torch.arange(rows) % 2,
    }
    values = {"a": torch.randn(rows, 2, 3), "b": torch.arange(rows)}
    return Batch(values, **{name: part for name, part in parts.items() if name not in without})


@given(st.lists(st.integers(0, 9), max_size=12))
@settings(deadline=None)
def test_picking_rows_picks_from_every_part(picks):
    whole, index = batch(10), torch.tensor(picks, dtype=torch.long)
    some = whole[index]
    assert len(some) == len(picks)
    assert some.target.tolist() == picks
    assert some.positions.tolist() == [100 + pick for pick in picks]
    assert torch.equal(some.values["a"], whole.values["a"][index])
    assert torch.equal(some.weight, whole.weight[index])


def test_pieces_joined_are_the_whole():
    whole = batch(10)
    again = Batch.concat([whole[index] for index in torch.arange(10).split(3)])
    assert torch.equal(again.values["a"], whole.values["a"])
    assert all(
        torch.equal(getattr(again, part), getattr(whole, part)) for part in ("target", "weight", "positions", "streams")
    )


def test_a_part_that_one_piece_lacks_is_dropped():
    joined = Batch.concat([batch(3), batch(2, target=None, streams=None)])
    assert joined.target is None
    assert joined.streams is None
    assert joined.positions.tolist() == [100, 101, 102, 100, 101]


def test_parts_that_are_not_there_stay_so():
    bare = Batch({"a": torch.zeros(2, 1)})
    for other in (bare.to("cpu"), bare[torch.tensor([1])], bare.map(lambda t: t + 1)):
        assert other.target is other.weight is other.positions is other.streams is None
    assert bare.map(lambda t: t + 1).values["a"].sum() == 2
    assert bare.values["a"].sum() == 0

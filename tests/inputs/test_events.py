"""Histories as tokens: which events are read, what is known of an item, and forgetting by the clock."""

import pandas as pd
import pytest
import torch

from aet.attention.beside import beside, stand_beside
from aet.cells.words import objects
from aet.errors import ConfigError
from aet.inputs.catalogue import FIRST, NOTHING, START, UNKNOWN
from aet.inputs.events import EventsInput
from aet.schema import InputSpec


def frame(*histories):
    return pd.DataFrame({"history": objects(list(histories))})


def event(item, time=None, **content):
    return {"item": item, "time": time, **content}


def fitted(rows, **settings):
    torch.manual_seed(0)
    part = EventsInput([InputSpec("history", "events", ("history",))], dim=8)
    part.fit(rows, {"length": 4, **settings})
    part.build()
    return part.eval()


CHAIN = frame([event("a", 0.0), event("b", 60.0), event("c", 180.0)], [event("b", 5.0)], [])


def test_the_last_events_are_read_and_a_short_history_begins_with_the_beginning():
    part = fitted(CHAIN)
    long = frame([event(item, float(n)) for n, item in enumerate("abcabc")], [event("c")], [])
    codes = part.encode(long)[..., 0].long().tolist()
    a, b, c = FIRST, FIRST + 1, FIRST + 2
    assert codes == [[c, a, b, c], [NOTHING, NOTHING, START, c], [NOTHING, NOTHING, NOTHING, START]]
    assert part(part.encode(long))[1].sum(1).tolist() == [4, 2, 1]


def test_an_unknown_item_has_a_token_of_its_own_and_its_content():
    rows = frame(*[[event("a", price=float(n)), event("b", price=1.0)] for n in range(4)])
    part = fitted(rows)
    values = part.encode(frame([event("new", price=3.0)], [event("newer", price=3.0)], [event("new", price=0.0)]))
    assert values[:, -1, 0].tolist() == [UNKNOWN] * 3
    tokens = part(values)[0][:, -1]
    assert torch.equal(tokens[0], tokens[1])
    assert not torch.equal(tokens[0], tokens[2])


def test_a_table_of_items_gives_content_to_items_that_no_event_showed():
    table = [
        {"item": i, "title": f"The {w} one", "genre": g}
        for i, (w, g) in enumerate(zip("xyzxyz", "ABABAB", strict=True))
    ]
    part = fitted(frame([event(0), event(1)], [event(2)]), items=table)
    catalogue = part.catalogue
    assert catalogue.items == [0, 1, 2, 3, 4, 5]
    assert catalogue.seen.tolist() == [True] * 3 + [False] * 3
    known = catalogue.vectors()
    own = known - catalogue.content(catalogue.features)[FIRST:]
    torch.testing.assert_close(own[3:], catalogue.ids.weight[UNKNOWN].expand(3, -1))
    torch.testing.assert_close(own[:3], catalogue.ids.weight[FIRST : FIRST + 3])
    assert not torch.equal(known[3], known[4])
    assert part.encode(frame([event(5)]))[0, -1, 0] == FIRST + 5


def test_a_table_without_items_says_so():
    with pytest.raises(ConfigError, match="expected a column 'item'"):
        fitted(CHAIN, items=[{"movie": 1, "title": "x"}])


def test_new_items_come_with_their_content_and_leave_the_others_alone():
    table = [{"item": i, "genre": "AB"[i % 2]} for i in range(4)]
    part = fitted(frame([event(0), event(1)], [event(2), event(3)]), items=table)
    before = part.catalogue.vectors().detach()
    assert part.catalogue.extend([{"item": 9, "genre": "A"}, {"item": 1, "genre": "B"}]) == [9]
    after = part.catalogue.vectors()
    assert torch.equal(after[:4], before)
    content = part.catalogue.content(part.catalogue.features)[FIRST:]
    torch.testing.assert_close(after[4], content[0] + part.catalogue.ids.weight[UNKNOWN])
    assert part.catalogue.extend([{"item": 9}]) == []


def test_ids_are_left_out_in_training_only_where_there_is_content():
    bare, rich = (
        fitted(CHAIN),
        fitted(CHAIN, items=[{"item": i, "genre": g} for i, g in zip("abc", "AAB", strict=True)]),
    )
    for part, same in ((bare, True), (rich, False)):
        evaluated = part.catalogue.vectors()
        part.train()
        torch.manual_seed(3)
        drawn = [torch.equal(part.catalogue.vectors(), evaluated) for _ in range(20)]
        assert all(drawn) is same


def test_beside_the_tokens_stand_their_times_and_items():
    part = fitted(CHAIN)
    figures = part.beside(part.encode(CHAIN))
    times = figures["times"] * part.unit
    assert times[0].tolist() == pytest.approx(
        [-180.0, -180.0, -120.0, 0.0]
    )  # the beginning is as old as what follows it
    assert figures["items"].tolist() == [[-1, 0, 1, 2], [-1, -1, -1, 1], [-1] * 4]


def test_events_without_any_time_all_are_as_old():
    part = fitted(CHAIN)
    assert part.beside(part.encode(frame([event("a"), event("b")])))["times"].tolist() == [[0.0] * 4]


def test_figures_stand_beside_the_rows_that_were_read_last():
    stand_beside({"times": torch.arange(6.0).view(2, 3)})
    assert beside("times", 2).tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert beside("times", 4)[:, 0].tolist() == [0.0, 0.0, 3.0, 3.0]
    with pytest.raises(ConfigError, match="known of 2 rows and was asked of 3"):
        beside("times", 3)
    stand_beside({})
    with pytest.raises(ConfigError, match="reads 'times' of each token, and no input of this model gives it"):
        beside("times", 2)

"""What an update may cost: by hand, and counted in the rows that really pass."""

import pytest

import aet
from aet.model import Model
from aet.training.cost import SHARE, STEP, WORLD, Rows, afforded

from ..adaptation.models import three
from ..made import quick, signs


@pytest.fixture(scope="module")
def bare():
    return aet.train(signs(120), target="y", config=quick(6, patience=3))


@pytest.fixture(scope="module")
def rehearsed():
    config = quick(2)
    config["train"] |= {"rehearsals": 40, "keep_rows": 200}
    return aet.train(three(400), target="y", config=config)


def test_by_hand(bare):
    bare.report["trained"] = 6
    everything, update = Rows(8000, 2000), Rows(300, 100)
    whole = 6 * (5 * 8000 + 2 * 2000) + 2 * 4096 + 5 * 512 + 17 * 256
    left = SHARE * whole - (2 * 300 + 5 * 300 + 17 * 100)
    assert afforded(bare, everything, update, {}) == (min(6, round(left / (5 * 300 + 2 * 100))), 0)
    larger = Rows(4000, 100)
    left = SHARE * whole - (2 * 4000 + 5 * 512 + 17 * 100)
    assert afforded(bare, everything, larger, {}) == (round(left / (5 * 4000 + 200)), 0) == (2, 0)


def test_a_training_that_stopped_early_makes_for_a_shorter_update(bare):
    rows = Rows(100_000, 25_000), Rows(20_000, 5000)
    bare.report["trained"] = 6
    full = afforded(bare, *rows, {})[0]
    bare.report["trained"] = 3
    assert full > afforded(bare, *rows, {})[0] >= 1
    assert afforded(bare, *rows, {"moment_replay": {}})[0] < afforded(bare, *rows, {"sam": {}})[0]


def test_rehearsals_get_a_quarter_at_most_but_twenty_worlds(rehearsed):
    rehearsed.report["trained"] = 50
    for total, worlds in ((400, 20), (100_000, 40)):
        epochs, chosen = afforded(rehearsed, Rows(total, total // 4), Rows(300, 100), {})
        assert chosen == worlds
        assert epochs >= 1
    assert afforded(rehearsed, Rows(1000, 250), Rows(100, 30), {})[1] == 0, "too few held-out rows to rehearse on"
    middle = Rows(800, 200)
    allowance = SHARE * (50 * middle.epoch() + middle.statistics() + 40 * WORLD)
    assert 20 < afforded(rehearsed, middle, Rows(300, 100), {})[1] == int(0.25 * allowance / WORLD) < 40
    rehearsed.report.pop("trained")


def test_an_update_rehearses_in_as_many_worlds_as_it_can_pay_for(rehearsed):
    new = three(120, 3)
    made = rehearsed.update(new, compare=False).model
    assert int(made.statistics.rehearsals["world"].max()) + 1 == 20
    assert made.config.train.rehearsals == 40
    assert made.report["trained"] == 2
    asked = rehearsed.update(new, compare=False, config={"train": {"rehearsals": 25, "epochs": 1}}).model
    assert int(asked.statistics.rehearsals["world"].max()) + 1 == 25


def test_what_passes_is_what_was_counted(rehearsed, monkeypatch):
    """Rows behind the last epoch, each forward counted; those that are differentiated too count as steps."""
    passed, tokens = [], Model.tokens

    def counted(self, batch):
        passed.append((self.training, len(batch)))
        return tokens(self, batch)

    monkeypatch.setattr(Model, "tokens", counted)
    made = rehearsed.update(three(260, 3), compare=False, config={"train": {"epochs": 1}})
    new, old = made.report["new"], made.report["old"]
    rows = Rows(new["rows"] + old["replayed"], new["held"] + old["held"])
    assert sum(n for training, n in passed if training) == rows.train
    forwards = sum(n for training, n in passed if not training)
    slopes = min(rows.train, 512)
    expected = rows.epoch() - STEP * rows.train + rows.statistics() - (STEP - 1) * slopes + 20 * WORLD
    assert forwards == pytest.approx(expected, rel=0.4)

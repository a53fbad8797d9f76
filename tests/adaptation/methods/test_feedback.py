"""Labels that move the dials behind a network alone: the network reads each row once."""

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import METHODS
from aet.attention.state import ElasticState
from aet.errors import ConfigError


@pytest.fixture(scope="module")
def model():
    x = np.random.default_rng(0).normal(size=(200, 3))
    frame = pd.DataFrame(x, columns=list("abc")).assign(sign=np.where(x.sum(1) > 0, "plus", "minus"))
    config = {"model": {"dim": 16, "depth": 1, "heads": 2}, "train": {"epochs": 2}}
    return aet.train(frame, target="sign", config=config), frame


def labelled(model, rows):
    return model.encode(model.check(rows).frame, target=True)


def test_it_is_the_same_descent_with_every_pass_made(model):
    model, frame = model
    once, whole = (METHODS["feedback"](model, dials=dials, batch=8) for dials in ("trunk", "all"))
    whole.moves = lambda name: not name.startswith("inputs.")
    for start in (0, 6, 20):  # more rows than a step draws
        for method in (once, whole):
            method.label(labelled(model, frame.iloc[start : start + 6 + start]))
    assert max(float(t.abs().max()) for t in once.state.values()) > 0.01
    for name, tensor in whole.state.items():
        torch.testing.assert_close(once.state[name], tensor, atol=1e-5, rtol=1e-4)
    assert not any(t.any() for name, t in once.state.items() if name.startswith("inputs."))
    assert once.passes == 6 + 12 + 26 < whole.passes


def test_the_window_and_another_base_are_read_as_they_should(model):
    model, frame = model
    once = METHODS["feedback"](model, dials="trunk", window=10)
    once.label(labelled(model, frame.iloc[:8]))
    once.label(labelled(model, frame.iloc[8:16]))
    assert len(once.once.tokens) == 10
    rows = labelled(model, frame.iloc[6:16])
    torch.testing.assert_close(once.once(rows, torch.arange(10)), model(rows))
    moved = ElasticState.zeros(model).map(lambda name, t: torch.full_like(t, 0.3 * name.startswith("inputs.")))
    once.rebase(moved)
    before = once.passes
    once.label(labelled(model, frame.iloc[16:17]))
    assert once.passes == before + 10  # all of them under the new base
    again = METHODS["feedback"](model, dials="trunk", window=10)
    again.load_memory(once.memory())
    assert len(again.labelled) == 10


def test_it_is_chosen_behind_a_pretrained_network_alone(model):
    assert METHODS["feedback"](model[0]).once is None
    with pytest.raises(ConfigError, match="dials"):
        METHODS["feedback"](model[0], dials="some")

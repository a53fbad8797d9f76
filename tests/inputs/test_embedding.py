"""Curves of a number beside the number itself."""

import math

import numpy as np
import pandas as pd
import torch

from aet.inputs.embedding import Periodic, Piecewise
from aet.inputs.number import NumberInput
from aet.schema import InputSpec


def part(frame, **settings):
    torch.manual_seed(0)
    made = NumberInput([InputSpec(c, "number", (c,)) for c in frame], 8)
    made.fit(frame, settings)
    made.build()
    return made


def test_piecewise_by_hand():
    made = Piecewise(1, 2, bins=4)
    ramp, twin = np.arange(9.0), np.array([1.0, 1, 1, 1, 1, 1, 5, 5, 5])
    made.fit(np.stack([ramp, twin], 1)[:, None])
    k = made(torch.tensor([[[5.0, 2.0]], [[-3.0, 9.0]]]))  # edges 0 2 4 6 8, and 1 5
    assert k[0].tolist() == [[[1, 1, 0.5, 0], [0.25, 0, 0, 0]]]
    assert k[1].tolist() == [[[0, 0, 0, 0], [1, 0, 0, 0]]]


def test_piecewise_of_an_empty_or_constant_column_says_nothing():
    made = Piecewise(1, 2, bins=3)
    made.fit(np.array([[[np.nan, 2.0]], [[np.nan, 2.0]]]))
    assert not made(torch.tensor([[[40.0, -40.0]]])).any()


def test_periodic_by_hand():
    made = Periodic(1, 1, bins=2)
    made.build()
    made.frequency.data = torch.tensor([[[0.5, 2.0]]])
    k = made(torch.tensor([[[0.25]]])).flatten()
    angles = torch.tensor([math.pi / 4, math.pi])
    torch.testing.assert_close(k, torch.cat([angles.sin(), angles.cos()]))


def test_embeddings_start_as_the_linear_one_and_then_bend():
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=200)})
    plain = part(frame)
    for name in ("piecewise", "periodic"):
        made = part(frame, embedding=name)
        made.weight.data, made.bias.data = plain.weight.data, plain.bias.data
        values = made.encode(frame)
        assert torch.equal(made(values)[0], plain(values)[0])
        line = made(values)[0].detach()
        made.curve.data.normal_()
        assert (made(values)[0] - line).abs().max() > 0.1


def test_a_missing_value_shows_its_mark_alone():
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=50)})
    for name in ("piecewise", "periodic"):
        made = part(frame, embedding=name)
        made.curve.data.normal_()
        tokens, _ = made(made.encode(pd.DataFrame({"x": [np.nan]})))
        torch.testing.assert_close(tokens[0, 0], made.missing[0, 0] + made.bias[0])

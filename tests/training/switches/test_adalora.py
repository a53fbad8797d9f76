"""AdaLoRA: the ranks really move, the budget is kept, and what it does is by the paper."""

import pytest
import torch
from torch import nn

from aet.errors import ConfigError
from aet.training.switch import SWITCHES
from aet.training.switches.adalora import Triplets

from .steps import made, run_of
from .tuned import double, fitted, prepared, shaken, trainable


def test_by_hand():
    layer = Triplets(nn.Linear(2, 2, bias=False), rank=1, scale=2.0)
    with torch.no_grad():
        layer.weight.zero_()
        layer.left.copy_(torch.tensor([[1.0], [3.0]]))
        layer.size.copy_(torch.tensor([0.5]))
        layer.right.copy_(torch.tensor([[1.0, 1.0]]))
        assert layer(torch.tensor([[2.0, 5.0]])).tolist() == [[7.0, 21.0]]
        assert float(layer.tangle()) == 9.0**2 + 1.0**2  # PᵀP = 10, QQᵀ = 2
        layer.fold()
        assert layer.weight.tolist() == [[1, 1], [3, 3]]


def test_it_starts_as_the_model_with_nothing_tangled():
    model, plain, batch, switch = prepared("adalora", start=3, rank=1, head=False)
    assert torch.equal(model.logits(batch), plain.logits(batch))
    pairs = [(8, 24), (8, 8), (8, 16), (16, 8)]
    assert sum(trainable(model).values()) == 2 * sum(3 * (a + b + 1) for a, b in pairs)
    assert switch.parts[0].tangle().item() < 1e-10


def test_the_budget_falls_by_a_cubic():
    *_, switch = prepared("adalora", depth=1, start=8, rank=4, warm=0.1, settle=0.3)
    assert [switch.budget(step, 100) for step in (0, 9, 39, 69, 99)] == [32, 32, 18, 16, 16]  # 16 + 16/8 half way


def test_worth_by_hand():
    torch.manual_seed(0)
    *_, switch = prepared("adalora", depth=1, start=2, rank=1)
    model, batch = made(depth=1)
    run = run_of(model, batch)
    for size in (1.0, 2.0):
        for part in switch.parts:
            with torch.no_grad():
                part.left.fill_(1.0)
                part.right.fill_(1.0)
                part.size.copy_(torch.tensor([3.0, 0.0]))
            for p in part.fresh():
                p.grad = torch.full_like(p, size)
        switch.gradient(run)
    mean, spread = [], []
    for weight in (3.0, 0.0, 1.0):  # λ_1, λ_2, every P and Q
        average = deviation = 0.0
        for size in (1.0, 2.0):
            average = 0.85 * average + 0.15 * weight * size
            deviation = 0.85 * deviation + 0.15 * abs(weight * size - average)
        mean.append(average)
        spread.append(deviation)
    s = [a * b for a, b in zip(mean, spread, strict=True)]
    expected = torch.tensor([s[0] + 2 * s[2], s[1] + 2 * s[2]]).expand(4, 2)
    torch.testing.assert_close(switch.worths(), expected)


def test_the_ranks_move_and_differ_between_layers():
    model, before, *_ = fitted("adalora", {"start": 6, "rank": 3, "settle": 0.4})
    ranks = []
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 2 and name.startswith("trunk.blocks"):
            sizes = torch.linalg.svdvals(tensor - before[name])
            ranks.append(int((sizes > 1e-5 * sizes[0].clamp_min(1e-3)).sum()))
    assert len(ranks) == 8
    assert max(ranks) <= 6
    assert len(set(ranks)) > 1, "some layers keep more than others"
    assert sum(ranks) < 8 * 6


def test_it_says_from_what_to_what():
    *_, switch = prepared("adalora", depth=1, start=4, rank=2)
    assert switch.acted() == ""  # nothing moved: an error at the end of a run
    switch.calls = 3
    assert switch.acted() == ""
    switch.kept[0, 1:] = False
    assert "ranks of 4 layers from 4 each to 1-4 (16 to 13 in all; the weights kept have 13)" in switch.acted()


def test_what_is_cut_stays_cut_when_the_choice_is_final():
    model, batch = made(depth=1)
    run = run_of(model, batch, {}, steps=10)
    switch = SWITCHES["adalora"](start=2, rank=1, warm=0.1, settle=0.5)
    switch.prepare(model)
    choices = []
    for run.step in range(10):
        torch.manual_seed(run.step)
        for part in switch.parts:
            for p in part.fresh():
                p.data += 0.1
                p.grad = torch.randn_like(p)
        switch.gradient(run)
        switch.stepped(run)
        choices.append(switch.kept.clone())
        assert int(sum(part.size.count_nonzero() for part in switch.parts)) == int(switch.kept.sum())
    assert [int(kept.sum()) for kept in choices] == [switch.budget(step, 10) for step in range(10)]
    assert all(torch.equal(kept, choices[4]) for kept in choices[4:])


def test_folding_changes_no_answer():
    model, plain, batch, switch = prepared("adalora")
    shaken(model)
    before = model.logits(double(batch))
    switch.end(type("Run", (), {"model": model}))
    torch.testing.assert_close(model.logits(double(batch)), before, rtol=0, atol=1e-10)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_ranks_that_cannot_move_are_refused():
    with pytest.raises(ConfigError, match="rank below start"):
        SWITCHES["adalora"](rank=4, start=4)
    with pytest.raises(ConfigError, match="a sum below 1"):
        SWITCHES["adalora"](warm=0.5, settle=0.5)

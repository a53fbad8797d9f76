"""Mixup: tokens and labels in the same parts, padding, weights."""

from dataclasses import replace

import pytest
import torch

from aet.errors import ConfigError
from aet.training.switch import switched_on
from aet.training.switches import mixup
from aet.training.switches.mixup import drawn_share, partners

from .steps import loss, made, run_of


@pytest.fixture
def quarter(monkeypatch):
    monkeypatch.setattr(mixup, "drawn_share", lambda alpha: 0.25)


@pytest.mark.parametrize("output", ["label", "multilabel", "number"])
def test_tokens_and_losses_by_hand(output, quarter):
    model, batch = made(output)
    run = run_of(model, batch, {"mixup": {}})
    total = loss(run, batch)
    partner = run.switches[0].partner
    assert sorted(partner.tolist()) == list(range(len(batch)))
    tokens, _ = model.tokens(batch)
    logits = model.output(model.trunk(0.25 * tokens + 0.75 * tokens[partner]))
    own, other = (model.output.losses(logits, target) for target in (batch.target, batch.target[partner]))
    torch.testing.assert_close(total, (0.25 * own + 0.75 * other).mean())


def test_padding_counts_as_nothing(quarter):
    model, batch = made()
    run = run_of(model, batch[:2], {"mixup": {}})
    torch.manual_seed(0)
    while True:  # until the two rows are each other's partner
        tokens = torch.tensor([[[1.0], [2.0]], [[5.0], [torch.nan]]])
        run.mask = torch.tensor([[True, True], [True, False]])
        mixed = run.switches[0].tokens(run, tokens, batch[:2])
        if run.switches[0].partner.tolist() == [1, 0]:
            break
    torch.testing.assert_close(mixed, torch.tensor([[[4.0], [0.5]], [[2.0], [1.5]]]))
    assert run.mask.all()


def test_partners_are_drawn_by_weight():
    _, batch = made()
    weight = torch.zeros(16)
    weight[3], weight[5] = 1.0, 3.0
    torch.manual_seed(0)
    drawn = torch.cat([partners(replace(batch, weight=weight)) for _ in range(100)])
    assert set(drawn.tolist()) == {3, 5}
    assert (drawn == 5).float().mean() == pytest.approx(0.75, abs=0.05)
    assert partners(replace(batch, weight=0 * weight)).tolist() == list(range(16))


def test_rows_of_weight_zero_count_for_nothing():
    model, batch = made()
    weight = torch.ones(16)
    weight[0] = 0
    totals = []
    for label in (0, 1):
        given = replace(batch, weight=weight, target=batch.target.clone())
        given.target[0] = label
        torch.manual_seed(1)
        totals.append(loss(run_of(model, given, {"mixup": {"alpha": 1.0}}), given))
    assert torch.equal(*totals)


def test_shares_follow_the_beta_distribution():
    torch.manual_seed(0)
    shares = torch.tensor([drawn_share(2.0) for _ in range(2000)])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * 2 + 1)), abs=0.005)


def test_zero_changes_nothing_and_says_so():
    model, batch = made()
    run = run_of(model, batch, {"mixup": {"alpha": 0.0}})
    assert torch.equal(loss(run, batch), loss(run_of(model, batch), batch))
    assert run.switches[0].acted() == ""


def test_cutmix_is_another_way_of_the_same():
    with pytest.raises(ConfigError, match="exclude each other"):
        switched_on({"mixup": {}, "cutmix": {}})

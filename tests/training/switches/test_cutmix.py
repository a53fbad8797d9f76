"""CutMix on tokens: what is exchanged, and that labels follow the share of real tokens."""

import pytest
import torch

from aet.training.switches import cutmix
from aet.training.switches.cutmix import exchanged

from .steps import loss, made, run_of


@pytest.fixture
def half(monkeypatch):
    monkeypatch.setattr(cutmix, "drawn_share", lambda alpha: 0.6)


@pytest.mark.parametrize("output", ["label", "multilabel", "number"])
def test_tokens_and_losses_by_hand(output, half):
    model, batch = made(output)
    run = run_of(model, batch, {"cutmix": {}})
    tokens, _ = model.tokens(batch)  # (B, 2, dim): round(0.4 * 2) = 1 is taken
    torch.manual_seed(0)
    mixed = run.switches[0].tokens(run, tokens, batch)
    partner = run.switches[0].partner
    taken = [t for t in range(2) if torch.equal(mixed[:, t], tokens[partner, t])]
    kept = [t for t in range(2) if torch.equal(mixed[:, t], tokens[:, t])]
    assert len(taken) == len(kept) == 1
    torch.manual_seed(0)
    total = loss(run, batch)
    logits = model.output(model.trunk(mixed))
    own, other = (model.output.losses(logits, target) for target in (batch.target, batch.target[partner]))
    torch.testing.assert_close(total, (0.5 * own + 0.5 * other).mean())


def test_only_real_tokens_count():
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    foreign = torch.tensor([False, True, True, True]).expand(2, 4)
    _, mixed, share = exchanged(mask, torch.tensor([1, 0]), foreign)
    assert mixed.tolist() == [[True, True, False, False], [True, True, True, True]]
    assert share.tolist() == [0.5, 0.25]


def test_a_row_keeps_its_tokens_where_it_would_be_left_with_none():
    mask = torch.tensor([[True, False], [False, True]])
    foreign, mixed, share = exchanged(mask, torch.tensor([1, 0]), torch.tensor([True, False]).expand(2, 2))
    assert foreign.tolist() == [[False, False], [True, False]]
    assert mixed.tolist() == [[True, False], [True, True]]
    assert share.tolist() == [1.0, 0.5]


def test_zero_changes_nothing_and_says_so():
    model, batch = made()
    run = run_of(model, batch, {"cutmix": {"alpha": 0.0}})
    assert torch.equal(loss(run, batch), loss(run_of(model, batch), batch))
    assert run.switches[0].acted() == ""

"""T3A's supports and class vectors, one row after the other."""

import numpy as np
import torch

import aet
from aet.adaptation import T3a
from aet.summaries import head_weight, summaries
from tests.adaptation.models import batch_of
from tests.made import quick, signs


def entropy(z):
    p = np.exp(z - z.max())
    p /= p.sum()
    return -(p * np.log(p)).sum()


def step_by_step(weight, bias, rows, supports):
    """The equations over rows (summary, logits): logits of the last of them."""
    held = {c: [(entropy(weight @ w + bias), w / np.linalg.norm(w))] for c, w in enumerate(weight)}
    for summary, logits in rows:
        held[int(logits.argmax())].append((entropy(logits), summary / np.linalg.norm(summary)))
    best = {c: sorted(own, key=lambda pair: pair[0])[:supports] for c, own in held.items()}
    vectors = np.stack([np.mean([unit for _, unit in own], axis=0) for own in best.values()])
    return np.stack([vectors @ summary for summary, _ in rows])


def test_step_by_step(model):
    weight, bias = model.output.head.weight.detach().numpy(), model.output.head.bias.detach().numpy()
    for supports in (1, 3, 20, 1000):
        method, batch = T3a(model, supports=supports), batch_of(model, 60)
        rows = list(zip(*(t.numpy() for t in summaries(model, batch)), strict=True))
        assert np.allclose(method(batch).numpy(), step_by_step(weight, bias, rows, supports), atol=1e-4)


def test_before_any_row_the_vectors_are_the_heads(model):
    weight = head_weight(model)
    assert torch.allclose(T3a(model).vectors(), torch.nn.functional.normalize(weight, dim=-1))


def test_supports_stay_few_and_sure(model):
    method = T3a(model, supports=5)
    for seed in range(4):
        method(batch_of(model, 60, seed))
    counts = torch.bincount(method.classes, minlength=3)
    assert counts.tolist() == [5, 5, 5]
    before = method.unsure.max()
    method(batch_of(model, 60, 9))
    assert method.unsure.max() <= before, "only surer rows take a place"
    assert method.state.size() == 0
    assert method.passes == 300


def test_the_order_of_batches_does_not_matter_but_answers_only_read(model):
    one, other = T3a(model), T3a(model)
    first, second = batch_of(model, 30, 0), batch_of(model, 30, 1)
    one.propose(first), one.propose(second)
    other.propose(second), other.propose(first)
    assert torch.allclose(one.answer(first), other.answer(first), atol=1e-5)
    held = len(one.supports)
    one.answer(second)
    assert len(one.supports) == held


def test_several_members_are_one_long_summary(model):
    """The head of an ensemble, mean of the members' heads, is one linear map of their summaries side by side."""
    config = quick(2)
    config["model"]["members"] = 3
    several = aet.train(signs(), target="y", config=config)
    batch = several.encode(signs(20, 1), target=True)
    summary, _ = summaries(several, batch)
    assert summary.shape == (20, 24)
    several.train()
    with torch.no_grad():
        members = several.output.head(summary.view(60, 8))  # (B, k, C)
    several.eval()
    bias = several.output.head.bias.detach().mean(0)
    assert torch.allclose(summary @ head_weight(several).T + bias, members.mean(1), atol=1e-5)
    assert T3a(several)(batch).shape == (20, 2)

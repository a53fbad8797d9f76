"""Learning without forgetting: the distance by hand, and what it holds."""

import pytest
import torch
import torch.nn.functional as F

from aet.errors import ConfigError
from aet.training.switch import switched_on
from aet.training.switches.lwf import distance

from .steps import loss, made, run_of, seen


@pytest.mark.parametrize("output", ["label", "number", "multilabel"])
def test_by_hand(output):
    model, batch = made(output)
    run = run_of(model, batch, {"lwf": {"alpha": 0.7, "temperature": 2.0}})
    old = model(batch).detach()
    assert abs(float(loss(run, batch)) - float(seen(run, batch).losses.mean())) < 1e-6, "the same at the start"
    model.output.head.weight.data += 0.3
    model.output.head.bias.data[0] += 1.0
    new = model(batch).detach()
    if output == "label":
        p, q = (F.softmax(z / 2, -1) for z in (old, new))
        apart = 4 * (p * (p / q).log()).sum(-1)
    elif output == "multilabel":
        p, q = (torch.sigmoid(z / 2) for z in (old, new))
        apart = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean(-1)
    else:
        apart = 0.5 * (old - new).square().mean(-1)
    expected = seen(run, batch).losses.mean() + 0.7 * apart.mean()
    assert float(apart.mean()) > 1e-3
    torch.testing.assert_close(loss(run, batch), expected, rtol=1e-5, atol=1e-6)


def test_rows_count_by_their_weight():
    model, batch = made()
    run = run_of(model, batch, {"lwf": {}})
    model.output.head.bias.data[0] += 1.0
    weighed = type(batch)(batch.values, batch.target, torch.tensor([2.0] + [0.0] * 15))
    one = run.switches[0].term(run, seen(run, weighed))
    torch.testing.assert_close(one, 2 / 16 * run.switches[0].term(run, seen(run, batch[torch.tensor([0])])))


def test_classes_that_were_added_are_free():
    old, new = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[1.0, 2.0, 9.0]])
    assert float(distance("label", old, new, grown=1)) == pytest.approx(0, abs=1e-6)
    assert float(distance("label", old, new)) > 1


def test_the_old_answers_do_not_move_and_ask_for_no_gradient():
    model, batch = made()
    run = run_of(model, batch, {"lwf": {}})
    model.output.head.bias.data[0] += 1.0
    loss(run, batch).backward()
    assert all(p.grad is None for p in run.switches[0].teacher.parameters())


def test_zero_is_off():
    model, batch = made()
    run = run_of(model, batch, {"lwf": {"alpha": 0.0}})
    assert run.switches[0].term(run, seen(run, batch)) is None


def test_wrong_settings():
    with pytest.raises(ConfigError, match="temperature"):
        switched_on({"lwf": {"temperature": 0.0}})
    with pytest.raises(ConfigError, match="exclude each other"):
        switched_on({"lwf": {}, "mixup": {}})

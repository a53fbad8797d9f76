"""CoTTA's taught answers, its loss and its restore, by hand."""

import numpy as np
import pytest
import torch

import aet
from aet.adaptation import Cotta
from aet.attention.state import ElasticState, applied
from tests.adaptation.models import batch_of
from tests.made import quick, signs


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def moved(model, size=0.1):
    generator = torch.Generator().manual_seed(3)
    return ElasticState.zeros(model).map(lambda _, t: size * torch.randn(t.shape, generator=generator))


def test_unsure_rows_are_taught_by_the_mean_over_views(model):
    method, twin, batch = Cotta(model, views=5), Cotta(model), batch_of(model, 30)
    method.state = moved(model)
    source = softmax(model.logits(batch).double().numpy())
    with applied(method.state):
        teacher = softmax(model.logits(batch).double().numpy())
        unsure = source.max(1) < 0.92
        rows = batch[torch.from_numpy(np.flatnonzero(unsure))]
        views = [softmax(model.logits(twin.view(rows)).double().numpy()) for _ in range(5)]
    expected = teacher.copy()
    expected[unsure] = np.mean(views, axis=0)
    assert 0 < unsure.sum() < 30
    assert np.allclose(method.taught(batch).numpy(), expected, atol=1e-5)
    assert method.passes == 60 + 5 * unsure.sum()


@pytest.mark.parametrize(("sure", "passes"), [(0.0, 60), (1.1, 60 + 4 * 30)])
def test_the_threshold(model, sure, passes):
    method = Cotta(model, sure=sure, views=4)
    taught = method.taught(batch_of(model, 30))
    assert method.passes == passes
    assert torch.equal(taught, model(batch_of(model, 30)).softmax(-1).detach()) == (sure == 0.0)


def test_the_loss_is_the_students(model):
    method, batch = Cotta(model), batch_of(model, 20)
    taught = torch.randn(20, 3, generator=torch.Generator().manual_seed(1)).softmax(-1)
    with applied(moved(model)):
        expected = -(taught * model.logits(batch).log_softmax(-1)).sum(1).mean()
        assert method.loss(batch, taught).item() == pytest.approx(float(expected), rel=1e-5)


def test_restore_sends_the_right_share_of_elements_back_to_zero(model):
    method = Cotta(model, restore=0.01)
    dial = torch.ones(300, 1000)
    restored = method.restored("x", dial)
    assert set(restored.unique().tolist()) == {0.0, 1.0}
    assert float((restored == 0).float().mean()) == pytest.approx(0.01, rel=0.05)
    assert not torch.equal(method.restored("x", dial), restored), "other elements the next time"
    assert torch.equal(Cotta(model, restore=0.0).restored("x", dial), dial)
    assert dial.sum() == dial.numel(), "nothing is written in place"


def test_the_student_is_restored_after_the_teacher_followed(model):
    """With every element restored the student begins each batch at the source; the teacher keeps what it took."""
    method, batch = Cotta(model, restore=1.0, rate=0.5, views=1), batch_of(model, 30)
    method(batch)
    assert method.student.size() == 0
    first = method.state.size()
    assert first > 0
    free = Cotta(model, restore=0.0, rate=0.5, views=1)
    free(batch)
    assert free.state.equal(method.state)
    assert torch.allclose(free.student["output.bias"], 2 * free.state["output.bias"])


def test_one_step_of_adam_moves_every_dial_that_matters(model):
    method = Cotta(model, restore=0.0, views=1)
    method(batch_of(model, 30))
    for name, dial in method.student.items():
        still = name.startswith("inputs") or float(dial.abs().max()) == 0
        assert still or float(dial.abs().max()) == pytest.approx(1e-3, rel=0.05)
    assert any("attention" in name and float(t.abs().max()) > 0 for name, t in method.student.items())


def test_yes_or_no_answers_are_taught_one_by_one():
    frame = signs(80).assign(up=lambda f: (f["a"] > 0).astype(int), down=lambda f: (f["b"] < 0).astype(int))
    model = aet.train(frame.drop(columns="y"), target=["up", "down"], config=quick(2))
    method = Cotta(model, views=2)
    batch = model.encode(frame.drop(columns="y")[["a", "b"]].head(10))
    taught = method.taught(batch)
    assert taught.shape == (20, 2)
    assert torch.allclose(taught.sum(-1), torch.ones(20))
    method(batch)
    assert method.state.size() > 0

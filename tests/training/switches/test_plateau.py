"""The rate falls where the validation loss stays: by hand, with the warm-up, and over an interruption."""

import pytest

from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switches.plateau import Plateau

from .steps import made, run_of


def rates(losses, warmup=0.0, steps=100, **settings):
    """The factor after each epoch of one step."""
    model, batch = made(warmup=warmup)
    run = run_of(model, batch, {"plateau": settings}, steps=steps)
    plateau, seen = run.switches[0], []
    for run.step, loss in enumerate(losses):
        plateau.validated(run, {"valid_loss": loss})
        seen.append(plateau.rate(run))
    return seen


def test_by_hand():
    losses = [3.0, 2.0, 2.0, 2.5, 1.9, 1.9, 1.9, 1.9, 1.9]
    assert rates(losses, factor=0.5, patience=2) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_a_little_better_is_not_better():
    assert rates([1.0, 0.95, 0.91, 0.5], patience=1, least=0.1) == [1, 0.5, 0.25, 0.25]


def test_epochs_within_the_warm_up_are_not_waited_for_and_nothing_is_cut_after_the_last():
    assert rates([1.0] * 6, warmup=0.4, steps=10, patience=1) == [1, 1, 1, 1, 0.5, 0.25]
    assert rates([1.0, 1.0, 1.0], steps=3, patience=2) == [1, 1, 1]
    assert rates([float("nan")] * 3, patience=2) == [1, 0.5, 0.5]


def test_it_multiplies_the_schedule():
    model, batch = made(epochs=6, batch_size=16, warmup=0.4, switches={"plateau": {"patience": 1, "least": 0.99}})
    history = fit(model, batch, batch)  # one step an epoch; two of warm-up
    full = model.config.train.lr
    assert [record["lr"] / full for record in history] == pytest.approx([0.5, 1, 1, 0.5, 0.25, 0.125])


def test_it_says_how_often_and_outlives_an_interruption():
    one, two = Plateau(patience=2), Plateau(patience=2)
    one.best, one.waited, one.calls = 0.1 + 0.2, 1, 2
    two.load_memory(one.memory())
    assert (two.best, two.waited) == (0.1 + 0.2, 1)
    assert one.acted() == "cut the learning rate 2 times, to 0.25 of it"


def test_a_loss_that_never_stays_is_an_error_with_the_way_out():
    model, batch = made(epochs=3, switches={"plateau": {"patience": 50}})
    with pytest.raises(ConfigError, match=r"did nothing .* never stayed for 50 epochs. .* lower patience"):
        fit(model, batch, batch)
    with pytest.raises(ConfigError, match="factor"):
        Plateau(factor=0)

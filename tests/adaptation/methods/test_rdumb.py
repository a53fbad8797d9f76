"""RDumb is ETA between two resets."""

import torch

from aet.adaptation import Eta, Rdumb
from tests.adaptation.models import batch_of


def test_starts_anew_after_every_t_steps(model):
    rdumb, eta = Rdumb(model, every=3, redundancy=2.0), Eta(model, redundancy=2.0)
    for seed in range(8):
        if seed in (3, 6):
            eta.reset()
        batch = batch_of(model, 40, seed)
        rdumb(batch)
        eta(batch)
        assert rdumb.state.equal(eta.state)
        assert torch.equal(rdumb.seen, eta.seen)
        assert rdumb.state.size() > 0
    assert rdumb.passes == eta.passes, "a reset forgets no cost"


def test_counts_batches_learned_from_or_not(model):
    rdumb, batch = Rdumb(model, every=2, margin=0.0), batch_of(model, 8)
    for expected in (1, 2, 1, 2):
        rdumb(batch)
        assert rdumb.step == expected
    rdumb(batch[torch.arange(0)])
    assert rdumb.step == 2, "no row, no step"


def test_the_step_is_kept(model):
    rdumb, batch = Rdumb(model, every=2, redundancy=2.0), batch_of(model, 40)
    rdumb(batch)
    again = Rdumb(model, every=2, redundancy=2.0)
    again.state = rdumb.state
    again.load_memory(rdumb.memory())
    for _ in range(2):
        rdumb(batch)
        again(batch)
    assert again.state.equal(rdumb.state)
    assert (again.step, rdumb.step) == (1, 1)

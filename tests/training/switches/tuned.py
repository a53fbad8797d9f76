"""What the tests of LoRA and its kin share."""

import torch

from aet.batch import Batch
from aet.training.loop import fit
from aet.training.switch import SWITCHES

from .steps import made


def prepared(name, depth=2, **settings):
    """A model with the parts in it, before any step, its plain twin, the rows and the switch."""
    plain, batch = made(depth=depth)
    model, _ = made(depth=depth)
    switch = SWITCHES[name](**settings)
    switch.prepare(model)
    return model.eval(), plain.eval(), Batch(batch.values), switch


def trainable(model):
    return {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}


def shaken(model):
    """Every trainable weight moved by a random amount, in double precision."""
    torch.manual_seed(1)
    model.double()
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.3 * torch.randn_like(p))
    return model


def double(batch):
    return batch.map(lambda t: t.double() if t.is_floating_point() else t)


def fitted(name, settings=None, **changes):
    """A trained model beside its start, and the history."""
    model, batch = made(depth=2, epochs=6, batch_size=4, lr=0.02, switches={name: settings or {}}, **changes)
    before = {key: t.clone() for key, t in model.state_dict().items()}
    return model, before, fit(model, batch, batch), batch

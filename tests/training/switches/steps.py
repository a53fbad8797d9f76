"""One batch or one step outside the loop, for tests by hand."""

import torch

from aet.config import Config
from aet.model import Model
from aet.schema import infer
from aet.training.loop import batch_loss, own_random, parameter_groups
from aet.training.switch import Pass, Run, switched_on

from ...made import quick, signs

TARGETS = {"label": "y", "number": "z", "multilabel": ["u", "v"]}


def rows(count=16):
    """Two numbers and targets of all kinds."""
    x = signs(count)
    return x.assign(z=x["a"] + x["b"], u=(x["a"] > 0).astype(int), v=(x["b"] > 0).astype(int))


def made(output="label", **changes):
    """A model of an output kind and its encoded rows."""
    frame, target = rows(), TARGETS[output]
    kept = frame[["a", "b", *([target] if isinstance(target, str) else target)]]
    with own_random():
        torch.manual_seed(0)
        model = Model(infer(kept, target), quick_config(**changes)).fit_columns(kept)
    assert model.output.kind == output
    return model, model.encode(kept, target=True)


def quick_config(**changes):
    return Config.read(quick(**{"dropout": 0.0, **changes}))


def run_of(model, batch, switches=None, steps=10):
    """A run with switches on, begun."""
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-3)
    on = switched_on(switches or {})
    run = Run(model, optimiser, batch, batch, steps, lambda: torch.zeros(()), switches=on)
    for switch in on:
        switch.begin(run)
    return run


def loss(run, batch):
    """The batch's loss with all switches."""
    return batch_loss(run, run.switches, run.model.trunk, batch)


def seen(run, batch):
    """A pass without switches."""
    tokens, mask = run.model.tokens(batch)

    def forward(tokens, mask, concepts=None):
        return run.model.output(run.model.trunk(tokens, mask, concepts=concepts))

    logits = forward(tokens, mask)
    return Pass(batch, tokens, mask, logits, run.model.output.losses(logits, batch.target), forward)

"""Models and rows that tests of the loop train, and how two runs are compared."""

import torch

from aet.config import Config
from aet.model import Model
from aet.schema import infer
from aet.training.loop import own_random

from ..made import mixed, quick


class Interrupt(Exception):
    """The power goes."""


def prepared(frame=None, target="y", **changes):
    """A fresh model and its training and validation rows, the same for the same arguments."""
    frame = mixed(150) if frame is None else frame
    config = Config.read(quick(**{"epochs": 5, "batch_size": 48, **changes}))
    schema = infer(frame, target, kinds={"text": "text"} if "text" in frame else {})
    with own_random():
        torch.manual_seed(config.seed)
        model = Model(schema, config)
        checked = model.check(frame).frame
        model.fit_columns(checked[:120])
    return model, model.encode(checked[:120], target=True), model.encode(checked[120:], target=True)


def bits(model):
    return {name: t.clone() for name, t in model.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(t, two[name]) for name, t in one.items())


def figures(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def after(epochs):
    """Interrupts once so many epochs are done."""

    def on_epoch(record):
        if record["epoch"] > epochs:
            raise Interrupt

    return on_epoch

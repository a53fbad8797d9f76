"""The models and rows that the tests of this room share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

import aet
from aet.adaptation.base import METHODS
from aet.batch import Batch
from aet.cells.words import objects
from aet.errors import ConfigError
from tests.made import quick, shapes

NAMES = np.array(["p", "q", "r"])


def three(rows=400, seed=0, mix=(1, 1, 1), shift=0.0, gain=1.0):
    """Four numbers; the largest of the first three is likely the class. `shift` and `gain` are a sensor's drift."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, rows, p=np.array(mix) / sum(mix))
    x = rng.normal(size=(rows, 4))
    x[np.arange(rows), y] += 2.5
    return pd.DataFrame(gain * x + shift, columns=list("abcd")).assign(y=NAMES[y])


def inputs(frame):
    return frame[list("abcd")]


SPECIAL = {"dynamic": {"attention": {"dynamic": {}}}, "bn_adapt": {"norm": "batch"}}
"""Methods that take only models of a certain build, and that build."""


def make_special(method, sort):
    """The three models once more, built as a method needs them."""
    frame, target, epochs = {
        "model": (three(), "y", 4),
        "regression": (three(200, seed=1).assign(z=lambda f: f["a"] - 2 * f["b"]).drop(columns="y"), "z", 4),
        "images": (shapes(), "y", 3),
    }[sort]
    return aet.train(frame, target=target, config=quick(epochs=epochs, dim=16, dropout=0.0, **SPECIAL[method]))


def taken(request, name, sort):
    """The model of a sort, built as the method needs it."""
    return request.getfixturevalue(f"{name}_{sort}" if name in SPECIAL else sort)


def make_label(**data):
    frame = three().assign(key=[f"row{i}" for i in range(400)])
    roles = {"id": "key"} if data else {"ignore": "key"}
    return aet.train(frame, target="y", config=quick(epochs=12, dim=16, dropout=0.0), **roles)


def make_regression():
    frame = three(200, seed=1)
    frame["z"] = frame["a"] - 2 * frame["b"]
    return aet.train(frame.drop(columns="y"), target="z", config=quick(epochs=4, dim=16, dropout=0.0))


def waves(rows=160, seed=3, shift=0.0, gain=1.0):
    """Windows of a daily wave with noise, and the six values that follow each."""
    rng = np.random.default_rng(seed)
    t = np.arange(30)[None] + rng.integers(0, 6, (rows, 1))
    x = gain * (10 + np.sin(np.pi * t / 3) + 0.1 * rng.normal(size=t.shape)) + shift
    future = x[:, 24:] + 0.5 * shift
    return pd.DataFrame({"past": objects(list(x[:, :24])), "z": objects(list(future))})


def make_forecast():
    return aet.train(waves(), target="z", config=quick(epochs=4, dim=16, dropout=0.0))


def make_image():
    return aet.train(shapes(), target="y", config=quick(epochs=3, dim=16, dropout=0.0))


def frame_of(model, rows=96, seed=5, shifted=True):
    """Rows for any of the three models, moved away from what it was trained on."""
    if model.output.kind == "number":
        frame = three(rows, seed, shift=1.0 * shifted)
        return frame.assign(z=frame["a"] - 2 * frame["b"]).drop(columns="y")
    if model.output.kind == "forecast":
        return waves(rows, seed, shift=1.0 * shifted, gain=1 + 0.5 * shifted)
    if "picture" in model.schema.input_columns:
        frame = shapes(rows, seed)
        return frame.assign(picture=[0.5 * cell + 0.3 if shifted else cell for cell in frame["picture"]])
    return three(rows, seed, shift=1.0 * shifted, gain=1 + 0.5 * shifted)


def batch_of(model, rows=96, seed=5, shifted=True):
    return model.encode(frame_of(model, rows, seed, shifted), target=True)


def filled(batch, value):
    """The same rows with every value replaced."""
    values = {name: torch.full_like(t, value) for name, t in batch.values.items()}
    return Batch(values=values, target=batch.target)


def served(model, rows=96, seed=3, **settings):
    """A stream that served some shifted rows, and their truth."""
    stream = model.stream(**settings)
    frame = three(rows, seed, shift=1.5, gain=0.4)
    stream.predict(inputs(frame))
    return stream, frame["y"].tolist()


def everything(stream):
    """All that feedback may change, as plain values."""
    kept = stream.kept
    return {
        "state": {name: t.clone().numpy().tobytes() for name, t in stream.state.items()},
        "memory": {name: t.clone().numpy().tobytes() for name, t in stream.method.memory().items()},
        "guard": stream.guard.to_dict(),
        "kept": (list(kept.ids), kept.weights.tobytes(), list(kept.gone), list(kept.labelled)),
        "counts": (stream.rows, stream.labels, stream.asked, len(stream._history)),
        "trace": {name: str(value) for name, value in stream.trace.to_dict().items() if name != "seconds"},
    }


def answering(model, batch):
    """Names of the methods that take a model; each answers the batch with a row of logits for each of its rows."""
    works = set()
    for name in METHODS:
        try:
            method = METHODS[name](model)
        except ConfigError:
            continue
        works.add(name)
        assert method(batch).shape == (len(batch), model.output.width)
    return works


def changed(config, changes):
    """Settings with changes in some of their sections."""
    return {**config, **{name: {**config.get(name, {}), **part} for name, part in changes.items()}}


def fed(stream, frame, rows=64):
    """The answers to a frame served in calls of so many rows."""
    return pd.concat([stream.predict(inputs(frame.iloc[i : i + rows])) for i in range(0, len(frame), rows)])

"""Small tables and runs for tests of the command, and what it answers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from aet.cli import app

SMALL = ["--set", "model.dim=16", "--set", "model.depth=1", "--set", "model.heads=2", "--set", "train.epochs=4"]


def rows(count: int, seed: int, gain: float = 1.0) -> pd.DataFrame:
    x = np.random.default_rng(seed).normal(size=(count, 3))
    frame = pd.DataFrame(gain * x, columns=["a", "b", "c"]).round(4)
    frame["colour"] = np.where(x[:, 0] + x[:, 1] > 0, "red", "blue")
    return frame


def call(*arguments, **more):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **more)


def answer(*arguments):
    """The JSON object of a command that did its work; nothing else is on standard output."""
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def failure(*arguments):
    """The message of a command that failed, the same on standard error and, with --json, in its object."""
    plain, told = call(*arguments), call(*arguments, "--json")
    assert (plain.exit_code, told.exit_code, plain.stdout) == (2, 2, "")
    error = json.loads(told.stdout)["error"]
    assert error["message"] in plain.stderr
    assert "Traceback" not in plain.stderr
    return error


def trained(made):
    """Tables in a folder and a run trained on them."""
    rows(160, 0).to_csv(made / "rows.csv", index=False)
    rows(150, 1).to_csv(made / "day1.csv", index=False)
    rows(150, 2, gain=3.0).to_csv(made / "day2.csv", index=False)
    rows(80, 3).drop(columns="colour").to_csv(made / "plain.csv", index=False)
    done = call("train", made / "rows.csv", "--target", "colour", "--out", made / "run", *SMALL)
    assert done.exit_code == 0, done.stderr
    return made

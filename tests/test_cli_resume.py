"""A training that is killed, then interrupted, ends with the same bytes as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from aet.cli import app
from aet.training import checkpoint

# A checkpoint after every epoch: those of every few seconds would make this test a long one.
PROGRAM = "import aet.training.loop as loop; loop.SAVE_EVERY = 0.0; from aet.cli import main; main()"
SETTINGS = ["model.dim=16", "model.depth=1", "model.heads=2", "train.epochs=60", "train.patience=60"]
LIMIT = 120.0


def command(folder, out):
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", str(folder / "rows.csv"), "--target", "colour", "--out", str(folder / out), *settings]


def kill_in_the_middle(folder):
    """Start the command in a process of its own and kill it once it has a checkpoint."""
    file = folder / "broken" / "checkpoint.safetensors"
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command(folder, "broken")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    limit = time.monotonic() + LIMIT
    while not file.is_file() and time.monotonic() < limit and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    return run.wait(LIMIT)


@pytest.mark.slow
def test_killed_and_interrupted_runs_go_on_exactly(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(200, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "colour": np.where(x.sum(1) > 0, "red", "blue")})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    file = tmp_path / "broken" / "checkpoint.safetensors"
    assert kill_in_the_middle(tmp_path) == -signal.SIGKILL
    assert file.is_file()
    assert not (tmp_path / "broken" / "schema.json").exists()

    epochs = []

    def save_and_interrupt(path, model, optimiser, progress, mark, switches, save=checkpoint.save):
        save(path, model, optimiser, progress, mark, switches)
        epochs.append(progress.epoch)
        if len(epochs) == 5:
            raise KeyboardInterrupt  # what Ctrl-C raises; workers of a parallel test run ignore the signal itself

    with monkeypatch.context() as patch:
        patch.setattr("aet.training.loop.SAVE_EVERY", 0.0)
        patch.setattr("aet.training.checkpoint.save", save_and_interrupt)
        interrupted = CliRunner().invoke(app, command(tmp_path, "broken"))
    assert interrupted.exit_code == 130
    assert epochs[0] > 1, "the killed run was not taken up"
    assert f"The same command goes on from the last checkpoint in {file.parent}." in interrupted.stderr
    assert "Traceback" not in interrupted.stderr

    whole, broken = (CliRunner().invoke(app, command(tmp_path, name)) for name in ("whole", "broken"))
    assert (whole.exit_code, broken.exit_code) == (0, 0), whole.stderr + broken.stderr
    assert "holds an unfinished run" in broken.stderr
    assert not file.exists()
    assert (file.parent / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()

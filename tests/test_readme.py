"""The README's Python and its commands run as they stand, on files of the names that it uses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from aet.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """rows.csv, january.csv and february.csv in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for month, name in enumerate(("rows", "january", "february")):
        x = rng.normal(size=(300, 3)) + 0.3 * month
        frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(machine=np.where(x[:, 0] > x[:, 1], "hot", "idle"))
        frame.to_csv(f"{name}.csv", index=False)
    return tmp_path


def test_python(files):
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    truth = pd.read_csv("january.csv")["machine"]
    names = {"look_up": lambda row: truth[row]}
    quick = block.replace('out="runs/machine"', 'out="runs/machine", config={"train": {"epochs": 3}}')
    assert quick != block
    exec(compile(quick, "README.md", "exec"), names)
    assert len(names["answers"]) == 300
    assert names["stream"].labels == 16
    assert "<html" in Path("january.html").read_text(encoding="utf-8")


def test_commands(files):
    commands = re.findall(r"^    (aet [^#\n]*)", README, flags=re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        verb, *words = command.split()[1:]
        words += ["--set", "train.epochs=3"] if verb in ("train", "tune") else []
        words += ["--trials", "1"] if verb == "tune" else []
        words = ["--help"] if verb == "serve" else words  # it would not end
        done = CliRunner().invoke(app, [verb, *words])
        # A gate may refuse: that is exit code 3.
        assert done.exit_code in ((0, 3) if verb == "update" else (0,)), done.output
    assert (files / "runs/machine/stream.html").is_file()

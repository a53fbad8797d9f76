"""`import aet` is light: heavy libraries wait until they are used."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

import aet

SECONDS = """
import time, torch
start = time.process_time()  # of this process alone: other work on the machine does not count
import aet
{use}
print(time.process_time() - start)
"""
LOADED = """
import json, sys, aet
{use}
print(json.dumps([name for name in {names} if name in sys.modules]))
"""


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@pytest.mark.parametrize("use", ["", "aet.train, aet.load"])
def test_import_costs_at_most_a_second_beyond_torch(use):
    assert statistics.median(float(run(SECONDS.format(use=use))) for _ in range(3)) <= 1.0


def test_import_loads_nothing_heavy():
    heavy = ["matplotlib", "pandas", "rich", "sklearn", "torch", "typer"]
    assert json.loads(run(LOADED.format(use="", names=heavy))) == []


@pytest.mark.parametrize("door", ["attend", "Model", "load", "train"])
def test_doors_load_only_what_they_need(door):
    names = ["matplotlib", "rich", "sklearn", "typer"]
    assert json.loads(run(LOADED.format(use=f"aet.{door}", names=names))) == []


def test_every_door_opens():
    doors = {name: getattr(aet, name) for name in aet.__all__}
    assert doors.pop("__version__")
    assert [name for name, thing in doors.items() if getattr(thing, "__name__", None) != name] == []
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        aet.tarin  # noqa: B018

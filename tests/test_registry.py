"""One file and one decorator: what lies in a room is found by itself."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

from aet.errors import ConfigError
from aet.registry import Registry

MODULES = """
import json, sys
import {package}
print(json.dumps(list(sys.modules)))
"""


@pytest.mark.parametrize("package", ["aet.inputs", "aet.outputs", "aet.adaptation.methods"])
def test_every_file_of_a_room_is_found(package):
    code = MODULES.format(package=package)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    files = {f"{package}.{file.name}" for file in pkgutil.iter_modules(import_module(package).__path__)}
    assert len(files) > 3
    assert files <= set(json.loads(done.stdout))


def test_a_new_file_needs_nothing_but_its_decorator(tmp_path, monkeypatch):
    room = tmp_path / "room_of_animals"
    room.mkdir()
    opening = (
        "from aet.registry import Registry, discover\nANIMALS = Registry('animal')\ndiscover(__name__, __path__)\n"
    )
    (room / "__init__.py").write_text(opening)
    (room / "cat.py").write_text("from room_of_animals import ANIMALS\n@ANIMALS.register('cat')\nclass Cat: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(import_module("room_of_animals").ANIMALS) == ["cat"]


def test_a_name_is_given_once():
    animals: Registry[object] = Registry("animal")
    animals.register("cat")(object())
    with pytest.raises(ConfigError, match="'cat' is registered twice"):
        animals.register("cat")(object())


@pytest.mark.parametrize("name", [None, 3, ["cat"]])
def test_what_is_no_name_is_unknown(name):
    with pytest.raises(ConfigError, match="There is no animal"):
        Registry("animal")[name]

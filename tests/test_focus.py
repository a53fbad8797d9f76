"""Where a model looks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import aet
from aet.focus import focus

from .made import mixed, quick


@pytest.fixture(scope="module")
def scene():
    frame = mixed(90)
    model = aet.train(frame, target="y", kinds={"text": "text"}, config=quick(2, depth=2))
    return model, model.encode(model.check(frame).frame)


def test_shares_are_one_among_the_real_tokens(scene):
    model, batch = scene
    shares = focus(model, batch, rows=17)
    _, mask = model.tokens(batch)
    assert not mask.all()
    torch.testing.assert_close(shares.sum(1), torch.ones(len(batch)))
    assert (shares >= 0).all()
    # Only through a padded token's own attention could it be read, and nothing reads that.
    assert shares[~mask].abs().max() < 1e-6


def test_adaptation_imports_nothing_of_training():
    room = Path(aet.__file__).parent / "adaptation"
    for path in room.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not str(node.module).startswith("aet.training"), path.name

"""Where real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data():
    """A function that gives the folder of a real data set, or skips the test by name."""
    root = Path(os.environ.get("AET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

    def find(name: str) -> Path:
        if not (root / name).is_dir():
            pytest.skip(f"needs the data set {name} in AET_DATA or ../shared/data")
        return root / name

    return find

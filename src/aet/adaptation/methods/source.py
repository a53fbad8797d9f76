"""The source as it is: nothing moves. The baseline of every comparison."""

from __future__ import annotations

from aet.adaptation.base import METHODS, Method


@METHODS.register("source")
class Source(Method):
    """state = 0."""

"""Demonstrations on real data that drifts: `aet demo digits`, `aet demo gas`."""

from aet.demo import digits, gas
from aet.demo.base import DEMOS, Demo, learn, serve

__all__ = ["DEMOS", "Demo", "digits", "gas", "learn", "serve"]

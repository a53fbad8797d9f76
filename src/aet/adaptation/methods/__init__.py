"""Adaptation methods: one file and one decorator each."""

from aet.registry import discover

discover(__name__, __path__)

"""The trackers: a new file here is found by itself."""

from aet.registry import discover

discover(__name__, __path__)

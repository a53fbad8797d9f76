"""One kind of personal data a file; all are found by themselves."""

from aet.registry import discover

discover(__name__, __path__)

"""Arrays in, numbers out: drift, label-free performance, alarms. No model is imported here."""

from aet.registry import discover

discover(__name__, __path__)

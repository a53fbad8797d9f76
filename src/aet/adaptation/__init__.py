"""Adaptation: methods that propose a state, the guard that decides, the stream that holds them together.

Every method of `METHODS` is here under its class's name: `aet.adaptation.Align(model)`.
"""

from aet.adaptation import methods
from aet.adaptation.base import METHODS, Method
from aet.adaptation.earned import Earned
from aet.adaptation.guard import GUARDS, Always, Guard, Likely, Never
from aet.adaptation.stream import Stream

__all__ = ["GUARDS", "METHODS", "Always", "Earned", "Guard", "Likely", "Method", "Never", "Stream", "methods"]


def __getattr__(name: str) -> type[Method]:
    for method in METHODS:
        if METHODS[method].__name__ == name:
            return METHODS[method]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(METHODS[name].__name__ for name in METHODS)])

"""Adaptation: methods that propose a state, the guard that decides, the stream that holds them together."""

from aet.adaptation.align import Align
from aet.adaptation.auto import Auto
from aet.adaptation.base import METHODS, Method
from aet.adaptation.dynamic import Dynamic
from aet.adaptation.feedback import Feedback
from aet.adaptation.guard import GUARDS, Always, Earned, Guard, Likely, Never
from aet.adaptation.prior import Prior
from aet.adaptation.restandardise import Restandardise
from aet.adaptation.source import Source
from aet.adaptation.stream import Stream
from aet.adaptation.tent import Tent
from aet.registry import discover

__all__ = [
    "GUARDS",
    "METHODS",
    "Align",
    "Always",
    "Auto",
    "Dynamic",
    "Earned",
    "Feedback",
    "Guard",
    "Likely",
    "Method",
    "Never",
    "Prior",
    "Restandardise",
    "Source",
    "Stream",
    "Tent",
]

discover(__name__, __path__)

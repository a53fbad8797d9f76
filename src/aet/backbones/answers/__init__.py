"""What a wrapped module may answer with, one file and one decorator a kind of output."""

from aet.backbones.answers.base import ANSWERS, Answer, Call, Reader
from aet.registry import discover

__all__ = ["ANSWERS", "Answer", "Call", "Reader"]

discover(__name__, __path__)

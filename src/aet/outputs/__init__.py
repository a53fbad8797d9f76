"""Summary to answers: one file a kind."""

from aet.outputs.base import OUTPUTS, Output
from aet.outputs.label import LabelOutput
from aet.outputs.multilabel import MultilabelOutput
from aet.outputs.number import NumberOutput
from aet.outputs.sequence import SequenceOutput
from aet.outputs.several import SeveralOutput
from aet.outputs.tags import TagsOutput
from aet.registry import discover

__all__ = [
    "OUTPUTS",
    "LabelOutput",
    "MultilabelOutput",
    "NumberOutput",
    "Output",
    "SequenceOutput",
    "SeveralOutput",
    "TagsOutput",
]

discover(__name__, __path__)

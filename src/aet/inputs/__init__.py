"""Columns to tokens: one file a kind."""

from aet.inputs.audio import AudioInput
from aet.inputs.base import INPUTS, Input
from aet.inputs.category import CategoryInput
from aet.inputs.image import ImageInput
from aet.inputs.number import NumberInput
from aet.inputs.text import TextInput
from aet.inputs.words import WordsInput
from aet.registry import discover

__all__ = ["INPUTS", "AudioInput", "CategoryInput", "ImageInput", "Input", "NumberInput", "TextInput", "WordsInput"]

discover(__name__, __path__)

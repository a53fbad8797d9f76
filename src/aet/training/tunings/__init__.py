"""What trains in the place of a pretrained network's own weights, and is folded into them at the end.

One file a kind: `adapters` (LoRA, AdaLoRA, IA3 of the package peft) and `elastic` (the elastic state alone).
`aet.inputs.tuning` holds the names and settings.
"""

from aet.registry import discover
from aet.training.tunings.base import Tuning, tunings

__all__ = ["Tuning", "tunings"]

discover(__name__, __path__)

"""Personal data found and masked before anything is logged or stored. One kind, one file in `kinds/`, one decorator."""

from aet.personal import kinds
from aet.personal.kind import KINDS, Kind
from aet.personal.mask import Masked, Masker, mask_text

__all__ = ["KINDS", "Kind", "Masked", "Masker", "kinds", "mask_text"]

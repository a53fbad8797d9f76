"""What cells may hold: one file a kind."""

from aet.cells.base import CELLS, TARGETS, Cells, Faults, Target, object_cells, shown
from aet.registry import discover

__all__ = ["CELLS", "TARGETS", "Cells", "Faults", "Target", "object_cells", "shown"]

discover(__name__, __path__)

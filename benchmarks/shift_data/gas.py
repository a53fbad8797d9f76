"""Gas sensors that age: batch 1 to train on, batches 2, 3, 4, 5, 6, 8 and 9 served (`aet.demo.gas_files`)."""

from __future__ import annotations

from aet.demo.gas import TRAINING
from aet.demo.gas_files import read_batches
from shift_data import CORRELATED, DATA, SHUFFLED, Recipe, Shift, halves

SERVED = (2, 3, 4, 5, 6, 8, 9)


@DATA.register("gas sensors")
def gas(seed: int) -> Shift:
    batches = read_batches()
    served, oracle = halves([(f"batch {number}", batches[number]) for number in SERVED], seed)
    streams = {
        "own order": Recipe("as_filed", quick=True),
        "own order, reset each shift": Recipe("reset_each_shift + as_filed"),
        **SHUFFLED,
        "continual": Recipe("continual", quick=True),
        **CORRELATED,
        "recurring": Recipe("recurring + correlated", rows=25),
    }
    return Shift(batches[1], "gas", TRAINING, served, oracle, streams)

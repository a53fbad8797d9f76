"""A robot that follows walls, one walk in its own order: no shift to speak of, so that nothing may be lost.

`wall_following_robot/sensor_readings_24.data.gz` in AET_DATA (UCI 194): the first half to train on.
"""

from __future__ import annotations

import pandas as pd
from common import folder

from shift_data import DATA, Recipe, Shift, eras, halves
from shift_data.tables import ROWS, TRAINING


@DATA.register("wall robot")
def robot(seed: int) -> Shift:
    frame = pd.read_csv(folder("wall_following_robot") / "sensor_readings_24.data.gz")
    rows, later = eras(frame, 0.5, parts=2, rows=ROWS)
    served, oracle = halves(later, seed)
    streams = {"own order": Recipe("as_filed"), "mixed": Recipe("mixed")}
    return Shift(rows, "OUTPUT", TRAINING, served, oracle, streams)

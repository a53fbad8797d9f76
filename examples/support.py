"""Customer support: route a request, say when it is none of ours, answer from what is written down, learn.

    python examples/support.py [REQUESTS] [--text COLUMN] [--intent COLUMN]

REQUESTS is a table of past requests and where they belonged (BANKING77's train.csv: --intent category). Without one the
84 requests of a shop in `examples/data/support.csv` are taken. Needs `pip install aet[text]`.
"""

import argparse
from pathlib import Path

import pandas as pd

import aet

WRITTEN_DOWN = [
    "Parcels leave us within a day and take two to four days. The tracking page is updated every evening.",
    "You may send anything back within 30 days. Print a return label on the page of your order; it is free.",
    "Refunds are paid within five days after your parcel came back, to the card you paid with.",
    "We take cards, PayPal and invoices. If a card is declined, your bank can say why.",
    "Use 'forgot password' on the sign-in page. After five wrong tries an account is locked for an hour.",
    "Sizes, materials and manuals are at the foot of every product's page. The guarantee is two years.",
]
NEW = [
    "the driver never rang at my door",
    "your site will not let me sign in",
    "is the green one washable?",
    "my cat is hungry",
    "who won the match last night?",
]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="?", type=Path, default=Path(__file__).parent / "data" / "support.csv")
    parser.add_argument("--text", default="text", help="column of the requests")
    parser.add_argument("--intent", default="intent", help="column of where they belong")
    options = parser.parse_args()

    past = pd.read_csv(options.requests)[[options.text, options.intent]]
    past = past.sample(frac=1, random_state=0).reset_index(drop=True)
    known, train = past.iloc[: len(past) // 3], past.iloc[len(past) // 3 :]
    model = aet.train(
        train,
        options.intent,
        kinds={options.text: "text"},
        config={"inputs": {"text": {"backbone": "minilm"}}, "train": {"epochs": 15, "batch_size": 16}},
        progress=True,
    )
    right = model.evaluate(known)["accuracy"]
    print(f"{len(train)} past requests learned; of {len(known)} others {right:.0%} go where they should")

    # A request is strange if fewer than one in ten known ones are as strange as it is.
    scope, knowledge = aet.Scope(model, known, level=0.1), aet.Knowledge(WRITTEN_DOWN)
    stream = model.stream()
    asked = known.iloc[:0].drop(columns=options.intent).reindex(range(len(NEW))).assign(**{options.text: NEW})
    answers, ours = stream.predict(asked), scope(asked)
    found = knowledge.search(NEW, 1)
    for number, request in enumerate(NEW):
        where = answers["prediction"][number] if ours[number] else "a person: this is none of our intents"
        print(f"\n{request!r} -> {where}")
        if ours[number] and found["similarity"][number] > 0.25:
            print(f"  {found['text'][number]}")

    # Somebody looks at the ones worth it and says where they belonged: late labels move the stream's state, and the
    # guard serves it only once it has earned that.
    stream.predict(known[[options.text]])
    worth = [row for row in stream.ask(16) if row >= len(NEW)]
    stream.feedback(worth, [known[options.intent].iloc[row - len(NEW)] for row in worth])
    print(
        f"\n{stream.labels} corrections taken in; {'adapted answers are' if stream.serving else 'the source is'} served"
    )
    print(stream.report("runs/support.html"))

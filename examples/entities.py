"""Named entities: learn from tagged news, move to another field with a few corrected sentences, tag a file of text.

    python examples/entities.py [NEWS DOMAIN] [--types politician=person,...] [--labels N] [--text FILE] [--pretrained]

NEWS and DOMAIN are CoNLL files: a token and its BIO tag a line, a blank line between sentences. Types of DOMAIN that
NEWS does not know are renamed by --types; the rest becomes `misc`. FILE is plain text, one sentence a line. Without
files CrossNER's news and politics are taken from the folder that AET_DATA names; no such corpus comes in a package.
"""

import argparse
import os
import sys
from pathlib import Path

import pandas as pd

import aet
from aet.attention import applied
from aet.conll import conll_frames
from aet.outputs.entities import entity_figures

POLITICS = "politician=person,politicalparty=organisation,country=location"
TEXT = ["Angela Merkel met members of the Greens in Hamburg .", "Nothing was decided ."]
SENTENCES, SERVED = 600, 200
SETTINGS = {
    "inputs": {"words": {"vocabulary": 1500}},
    "model": {"dim": 48, "depth": 2, "dropout": 0.2},
    "train": {"epochs": 10, "batch_size": 16, "lr": 0.004, "drift": 1.0, "monitor": "metric"},
}
PRETRAINED = {**SETTINGS, "inputs": {"words": {"backbone": "minilm", "tuning": "frozen"}}}


def sentences(path: Path) -> pd.DataFrame:
    """All of a file: columns words and tags."""
    with path.open(encoding="utf-8") as lines:
        return next(conll_frames(lines, str(path), None))


def known_types(rows: pd.DataFrame, names: dict[str, str], known: set[str]) -> pd.DataFrame:
    """The rows with the types of entities that the news knows."""

    def renamed(tag: str) -> str:
        mark, dash, kind = tag.partition("-")
        kind = names.get(kind, kind)
        return tag if not dash else f"{mark}-{kind if kind in known else 'misc'}"

    return rows.assign(tags=[[renamed(tag) for tag in tags] for tags in rows["tags"]])


def score(truth: pd.DataFrame, predictions: pd.Series) -> str:
    """F1 over whole entities, and of the spans alone."""
    both = (entity_figures(list(truth["tags"]), list(predictions), typed=typed)["f1"] for typed in (True, False))
    return "entity F1 {:.3f}, spans alone {:.3f}".format(*both)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("news", nargs="?", type=Path)
    parser.add_argument("domain", nargs="?", type=Path)
    parser.add_argument("--types", default=POLITICS, help="type of DOMAIN=type of NEWS, divided by commas")
    parser.add_argument("--labels", type=int, default=24, help="sentences that somebody corrects")
    parser.add_argument("--pretrained", action="store_true", help="read through MiniLM: better, minutes; extra [text]")
    parser.add_argument("--text", type=Path, help="plain text to tag, one sentence a line")
    options = parser.parse_args()
    if options.news is None or options.domain is None:
        folder = Path(os.environ.get("AET_DATA", ".")) / "crossner"
        options.news, options.domain = folder / "conll2003" / "train.txt", folder / "politics" / "dev.txt"
        if not (options.news.is_file() and options.domain.is_file()):
            print("Skipped: name two CoNLL files, NEWS and DOMAIN, or have CrossNER in the folder that AET_DATA names.")
            sys.exit()

    news = sentences(options.news).sample(SENTENCES, random_state=0)
    model = aet.train(news, "tags", config=PRETRAINED if options.pretrained else SETTINGS, progress=True)
    known = {tag[2:] for tag in model.output.classes if tag != "O"}
    names = dict(pair.split("=") for pair in options.types.split(",") if pair)
    rows = known_types(sentences(options.domain), names, known).sample(SERVED, random_state=0, ignore_index=True)

    # The model is served on the new field; somebody corrects the sentences that are worth it.
    stream, half = model.stream(), len(rows) // 2
    stream.predict(rows[:half][["words"]])
    worth = stream.ask(options.labels)
    stream.feedback(worth, [rows["tags"][row] for row in worth])
    later = rows[half:]
    print(f"{len(worth)} sentences of the new field corrected; {len(later)} others, not seen so far:")
    print("  as trained:", score(later, model.predict(later[["words"]])["prediction"]))
    with applied(stream.state):
        print("  as learned:", score(later, model.predict(later[["words"]])["prediction"]))
    print("  served:", "what was learned" if stream.serving else f"as trained; {stream.guard.reason()}")

    text = options.text.read_text(encoding="utf-8").splitlines() if options.text else TEXT
    lines = pd.DataFrame({"words": [line.split() for line in text if line.strip()]})
    for found in stream.predict(lines)["entities"]:
        print("; ".join(f"{one['text']} ({one['type']}, {one['confidence']:.2f})" for one in found) or "nothing")

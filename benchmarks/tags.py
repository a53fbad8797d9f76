"""A tagger with nothing pretrained, on CoNLL-2003, beside the commonest tag of each word.

    AET_DATA=... python benchmarks/tags.py [--quick] [--seeds N] [--json FILE]

2,500 sentences of the training file, a fifth of them held out, drawn by the seed; judged on the file dev.txt. The test
file is not read. Data: `crossner/conll2003` in AET_DATA, a token and its tag a line. Lab page: docs/lab/tags.md.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import pandas as pd
from common import Record, arguments, folder, summary, write

import aet
from aet.conll import conll_frames
from aet.outputs.entities import entity_figures
from aet.outputs.token_report import token_report

SENTENCES = 2500
SETTINGS = {
    "model": {"dim": 64, "depth": 2, "dropout": 0.3},
    "train": {"epochs": 15, "batch_size": 16, "lr": 0.003, "drift": 2.0, "monitor": "metric"},
    "inputs": {"words": {"vocabulary": 1500}},
}
FIGURES = (
    *("entity_precision", "entity_recall", "entity_f1", "untyped_entity_f1"),
    *("token_f1_micro", "token_f1_macro", "token_f1_micro_without_O"),
)


def sentences(name: str) -> pd.DataFrame:
    """All sentences of a file."""
    path = folder("crossner") / "conll2003" / name
    with path.open(encoding="utf-8") as lines:
        return next(conll_frames(lines, str(path), None))


def commonest(train: pd.DataFrame, rows: pd.DataFrame, tags: list[str]) -> dict[str, float]:
    """Figures of the tag that each word has most often in training; O for a word that is not there."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, own in zip(train["words"], train["tags"], strict=True):
        for word, tag in zip(words, own, strict=True):
            counts[word][tag] += 1
    most = {word: count.most_common(1)[0][0] for word, count in counts.items()}
    guess = [[most.get(word, "O") for word in words] for words in rows["words"]]
    code = {tag: number for number, tag in enumerate(tags)}
    truth, said = ([code[tag] for row in given for tag in row] for given in (rows["tags"], guess))
    table = token_report(truth, said, tags).to_dict("index")
    whole, untyped = entity_figures(rows["tags"], guess), entity_figures(rows["tags"], guess, typed=False)
    return {
        **{f"entity_{name}": value for name, value in whole.items()},
        "untyped_entity_f1": untyped["f1"],
        **{f"token_f1_{name}": table[name]["f1"] for name in ("micro", "macro", "micro_without_O")},
    }


def measured(seed: int, quick: bool) -> dict[str, dict[str, float]]:
    """Figures of both on the sentences of dev.txt, and the seconds that training and answering took."""
    train, dev = sentences("train.txt"), sentences("dev.txt")
    train = train.sample(400 if quick else SENTENCES, random_state=seed).reset_index(drop=True)
    settings = {**SETTINGS, "train": {**SETTINGS["train"], **({"epochs": 5} if quick else {})}}
    started = time.perf_counter()
    model = aet.train(train, target="tags", seed=seed, config=settings)
    trained = time.perf_counter()
    found = model.evaluate(dev)
    seconds = {"seconds_train": trained - started, "seconds_dev": time.perf_counter() - trained}
    return {"tagger": {**found, **seconds}, "commonest tag": commonest(train, dev, model.output.classes)}


def main() -> None:
    """Print a table of both."""
    chosen = arguments(__doc__, seeds=1)
    runs = [measured(seed, chosen.quick) for seed in range(chosen.seeds)]
    records = []
    print(f"{'':26}" + "".join(f"{method:>18}" for method in runs[0]))
    for name in (*FIGURES, "seconds_train", "seconds_dev"):
        cells = ""
        for method in runs[0]:
            if name not in runs[0][method]:
                continue
            value, spread = summary([run[method][name] for run in runs])
            cells += f"{value:18.3f}"
            records.append(Record("tags", "conll2003", method, name, value, "dev", spread, chosen.seeds))
        print(f"{name:26}{cells}")
    write(records, chosen.json)


if __name__ == "__main__":
    main()

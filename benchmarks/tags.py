"""Taggers on CoNLL-2003: with nothing pretrained beside the commonest tag of each word, and through MiniLM.

    AET_DATA=... python benchmarks/tags.py [--quick] [--seeds N] [--json FILE] [--only PART]

small   2,500 sentences of the training file, a fifth of them held out, drawn by the seed; judged on the file dev.txt
minilm  all 14,041 sentences, a tenth of them held out; judged once on dev.txt and on test.txt

Data: `crossner/conll2003` in AET_DATA, a token and its tag a line. A stopped training goes on where it was; with --json
so does what was judged. Lab page: docs/lab/tags.md.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any

import pandas as pd
from common import Done, Record, beside, parser, partial, summary, write
from shift_models import cached
from tag_data import crossner

import aet
from aet.outputs.entities import entity_figures
from aet.outputs.token_report import token_report

SENTENCES = 2500
SETTINGS = {
    "model": {"dim": 64, "depth": 2, "dropout": 0.3},
    "train": {"epochs": 15, "batch_size": 16, "lr": 0.003, "drift": 2.0, "monitor": "metric"},
    "inputs": {"words": {"vocabulary": 1500}},
}
PRETRAINED: dict[str, Any] = {
    "inputs": {"words": {"backbone": "minilm", "rate": 0.1}},
    "train": {"epochs": 2, "batch_size": 16, "lr": 0.001, "drift": 0.0, "monitor": "metric", "valid": 0.1}
    | {"patience": 2, "precision": "bfloat16", "rehearsals": 0},
}
FIGURES = (
    *("entity_precision", "entity_recall", "entity_f1", "untyped_entity_f1"),
    *("token_f1_micro", "token_f1_macro", "token_f1_micro_without_O"),
)


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
    train, dev = (crossner("conll2003", part) for part in ("train", "dev"))
    train = train.sample(400 if quick else SENTENCES, random_state=seed).reset_index(drop=True)
    settings = {**SETTINGS, "train": {**SETTINGS["train"], **({"epochs": 5} if quick else {})}}
    started = time.perf_counter()
    model = aet.train(train, target="tags", seed=seed, config=settings)
    trained = time.perf_counter()
    found = model.evaluate(dev)
    seconds = {"seconds_train": trained - started, "seconds_dev": time.perf_counter() - trained}
    return {"tagger": {**found, **seconds}, "commonest tag": commonest(train, dev, model.output.classes)}


def small_part(seed: int, quick: bool) -> dict[str, float]:
    """What `measured` gives, by stream, method and figure."""
    return {f"dev | {m} | {name}": v for m, found in measured(seed, quick).items() for name, v in found.items()}


def minilm_part(seed: int, quick: bool) -> dict[str, float]:
    """Figures of the pretrained tagger on both files."""
    train = crossner("conll2003", "train")
    if quick:
        train = train.sample(1500, random_state=seed).reset_index(drop=True)
    model, _ = cached(train, "tags", seed, {"config": PRETRAINED, "progress": True})
    found = {"dev | minilm | seconds_train": float(model.report["seconds"])}
    for name in ("dev", "test"):
        rows = crossner("conll2003", name)
        found |= {f"{name} | minilm | {figure}": value for figure, value in model.evaluate(rows).items()}
    return found


PARTS = {"small": small_part, "minilm": minilm_part}
TASKS = {"small": "conll2003", "minilm": "conll2003, all sentences"}


def main() -> None:
    """Print a table of each part."""
    made = parser(__doc__, seeds=1)
    made.add_argument("--only", action="append", choices=list(PARTS), help="a part by name; may be given again")
    chosen = made.parse_args()
    done, records = Done(partial(chosen.json)), []
    for part in chosen.only or PARTS:
        settings = PRETRAINED if part == "minilm" else SETTINGS
        runs = [
            done.get(f"{part} {seed} {chosen.quick} {settings}", lambda p=part, s=seed: PARTS[p](s, chosen.quick))  # type: ignore[misc]
            for seed in range(chosen.seeds)
        ]
        columns = dict.fromkeys(key.rpartition(" | ")[0] for key in runs[0])
        print(f"{'':26}" + "".join(f"{column:>24}" for column in columns))
        for name in (*FIGURES, "seconds_train", "seconds_dev"):
            cells = ""
            for column in columns:
                if f"{column} | {name}" not in runs[0]:
                    cells += f"{'':24}"
                    continue
                value, spread = summary([run[f"{column} | {name}"] for run in runs])
                cells += f"{value:24.3f}"
                stream, method = column.split(" | ")
                records.append(Record("tags", TASKS[part], method, name, value, stream, spread, chosen.seeds))
            print(f"{name:26}{cells}")
    write(beside(records, chosen.json), chosen.json)


if __name__ == "__main__":
    main()

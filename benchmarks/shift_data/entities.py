"""Spans of names: trained on news (CoNLL-2003), served on politics, science, music, literature, AI, and on WNUT-17.

Types differ, so spans alone are tagged, and the share of a sentence's words whose tag is right is scored: five words of
six are no name, so differences look small. F1 of spans: `tag_shift.py`. `crossner` and `wnut17` in AET_DATA.
"""

from __future__ import annotations

from typing import Any

from tag_data import DOMAINS, crossner, untyped, wnut

from shift_data import DATA, Recipe, Shift, halves, spread

SOURCE, ROWS = 1500, 400
"""Sentences of the news, and of each part."""
TRAINING: dict[str, Any] = {
    "config": {
        "model": {"dim": 32, "depth": 1, "dropout": 0.2},
        "inputs": {"words": {"vocabulary": 1500}},
        "train": {"epochs": 8, "batch_size": 16, "lr": 3e-3, "monitor": "metric"},
    }
}
STREAMS = {
    "own order": Recipe("as_filed", quick=True),
    "own order, reset each shift": Recipe("reset_each_shift + as_filed"),
    "mixed": Recipe("mixed"),
}


@DATA.register("news to other names")
def entities(seed: int) -> Shift:
    parts = [(domain, spread(untyped(crossner(domain, "test")), ROWS)) for domain in DOMAINS]
    served, oracle = halves([*parts, ("wnut17", spread(untyped(wnut("test")), ROWS))], seed)
    return Shift(spread(untyped(crossner("conll2003", "train")), SOURCE), "tags", TRAINING, served, oracle, STREAMS)

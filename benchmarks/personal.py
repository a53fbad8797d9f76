"""Personal data: how much of it is masked, and what is masked that is none.

    python benchmarks/personal.py [--quick] [--seeds N] [--json FILE]

Numbers of each kind are made up with formulae of their own (`personal_data.py`), put into sentences, and masked.
"announced": a word before says what it is; "bare": none does; "compact": digits only, announced or bare. Found: not a
piece of the number of more than three characters is left, whatever it was taken for. Named: it was taken for its own
kind. False alarms: sentences without personal data in which something was masked, by what they hold; a number with one
digit changed counts as none, though what was meant is plain to see.
"""

from __future__ import annotations

import random
import re
import statistics
import time

from common import Record, arguments, write
from personal_data import ANNOUNCED, BARE, CHECKED, COMPACT, MAKERS, PUBLISHED, broken, decoys

from aet.personal import mask_text


def found(number: str, sentence: str, kind: str) -> tuple[bool, bool]:
    """Whether the number is gone from the sentence, and whether it was taken for its kind."""
    masked = mask_text(sentence.format(number))
    frame = sentence.format("")
    left = [part for part in re.findall(r"[0-9A-Za-z]{4,}", masked.text) if part in number and part not in frame]
    short = sum(c.isdigit() for c in masked.text) - sum(c.isdigit() for c in frame) > 0
    return not left and not short, kind in masked.found


def recall(seed: int, size: int) -> dict[tuple[str, str], tuple[float, float]]:
    """(found, named) by kind and form."""
    rates: dict[tuple[str, str], tuple[float, float]] = {}
    for kind in MAKERS:
        for form in ("announced", "bare", "compact announced", "compact bare"):
            makers = COMPACT if form.startswith("compact") else MAKERS
            if kind not in makers:
                continue
            rng = random.Random(f"{seed} {kind} {form}")
            sentences = ANNOUNCED[kind] if form.endswith("announced") else BARE
            hits = [found(makers[kind](rng), rng.choice(sentences), kind) for _ in range(size)]
            rates[kind, form] = (sum(h[0] for h in hits) / size, sum(h[1] for h in hits) / size)
        hits = [found(number, BARE[1], kind) for number in PUBLISHED.get(kind, [])]
        if hits:
            rates[kind, "published"] = (sum(h[0] for h in hits) / len(hits), sum(h[1] for h in hits) / len(hits))
    return rates


def alarms(seed: int, size: int) -> dict[str, float]:
    """Share of sentences without personal data in which something was masked, by their sort."""
    rng = random.Random(f"{seed} decoys")
    hits: dict[str, int] = {}
    for _ in range(size):
        for sort, sentence in decoys(rng).items():
            hits[sort] = hits.get(sort, 0) + bool(mask_text(sentence).found)
        for kind in CHECKED:
            sort = f"{kind}, a digit changed"
            hits[sort] = hits.get(sort, 0) + bool(mask_text(BARE[1].format(broken(kind, rng))).found)
    return {sort: count / size for sort, count in hits.items()}


def speed(megabytes: float) -> float:
    """Megabytes a second of processor time over notes of which one in five holds personal data."""
    rng = random.Random(0)
    notes = []
    while sum(map(len, notes)) < megabytes * 1e6:
        notes += list(decoys(rng).values())[:4] + ["the motor ran warm after lunch and was switched off"] * 4
        notes.append(rng.choice(BARE).format(MAKERS[rng.choice(list(MAKERS))](rng)))
        notes.append("no remark")
    started = time.process_time()
    for note in notes:
        mask_text(note)
    return sum(map(len, notes)) / 1e6 / (time.process_time() - started)


def main() -> None:
    options = arguments(__doc__)
    size, seeds = (100, 1) if options.quick else (1000, options.seeds)
    rates, false = [recall(s, size) for s in range(seeds)], [alarms(s, size) for s in range(seeds)]
    records = []

    def average(values: list[float], task: str, metric: str) -> float:
        spread = statistics.stdev(values) if len(values) > 1 else None
        records.append(
            Record("personal", task, "patterns", metric, statistics.mean(values), spread=spread, seeds=seeds)
        )
        return 100 * statistics.mean(values)

    print(f"Found (named), %, {size} sentences a cell, {seeds} seeds\n")
    forms = ("announced", "bare", "compact announced", "compact bare", "published")
    print(f"{'kind':12}" + "".join(f"{form:>20}" for form in forms))
    for kind in MAKERS:
        cells = []
        for form in forms:
            if (kind, form) not in rates[0]:
                cells.append(f"{'':>20}")
                continue
            gone = average([r[kind, form][0] for r in rates], kind, f"found, {form}")
            named = average([r[kind, form][1] for r in rates], kind, f"named, {form}")
            cells.append(f"{f'{gone:.1f} ({named:.1f})':>20}")
        print(f"{kind:12}" + "".join(cells))
    print(f"\nFalse alarms, % of {size} sentences\n")
    for sort in false[0]:
        print(f"{sort:28}{average([f[sort] for f in false], sort, 'false alarms'):8.1f}")
    rate = speed(0.1 if options.quick else 1.0)
    records.append(Record("personal", "notes", "patterns", "megabytes a second", rate))
    print(f"\n{rate:.2f} MB of short notes a second of processor time")
    write(records, options.json)


if __name__ == "__main__":
    main()

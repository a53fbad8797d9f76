"""Names and places in texts: how many Microsoft Presidio's analyzer masks, and what else.

    AET_DATA=... python benchmarks/personal_names.py [--quick] [--json FILE]

The test sentences of CoNLL-2003 (Reuters news of 1996; `crossner/conll2003` in AET_DATA), words joined by spaces:
those are not what spaCy's English models were trained on. Found: no word of the mention is left. Named: it was taken
for a person or a place. False alarms: words outside any mention that were masked, and sentences without one in which
something was. Beside it the patterns alone, which look for no names. Needs presidio-analyzer and one of spaCy's models.
"""

from __future__ import annotations

import time
from collections import defaultdict
from difflib import SequenceMatcher

from common import Record, arguments, write
from tag_data import crossner

from aet.outputs.entities import spans
from aet.personal import Masker

KINDS = {"person": "[PERSON]", "location": "[LOCATION]"}


def aligned(words: list[str], masked: list[str]) -> tuple[list[bool], list[str]]:
    """Of each word whether it stands in the masked sentence as well, and what stands in its place where it does not.

    >>> aligned(["Shell", "met", "Ann"], ["Shell", "met", "[PERSON]"])
    ([True, True, False], ['', '', '[PERSON]'])
    """
    kept, became = [False] * len(words), [""] * len(words)
    for tag, i, j, k, m in SequenceMatcher(None, words, masked, autojunk=False).get_opcodes():
        kept[i:j] = [tag == "equal"] * (j - i)
        became[i:j] = ["" if tag == "equal" else " ".join(masked[k:m])] * (j - i)
    return kept, became


def figures(masker: Masker, sentences: list[tuple[list[str], list[str]]]) -> dict[str, float]:
    """Shares by kind of mention, of false alarms, and milliseconds a sentence."""
    found: dict[str, float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    started = time.process_time()
    texts = [masker.text(" ".join(words)) for words, _ in sentences]
    milliseconds = 1000 * (time.process_time() - started) / len(sentences)
    for (words, tags), text in zip(sentences, texts, strict=True):
        masked, mentions = text.split(), spans(tags)
        kept, became = aligned(words, masked)
        for kind, start, stop in mentions:
            gone = not any(kept[start:stop])
            total[kind] += 1
            found[kind] += gone
            if kind in KINDS:
                found[f"{kind} named"] += gone and KINDS[kind] in became[start]
        others = sorted({*range(len(words))} - {i for _, start, stop in mentions for i in range(start, stop)})
        total["words"] += len(others)
        found["words"] += sum(not kept[i] for i in others)
        if not mentions:
            total["sentences"] += 1
            found["sentences"] += masked != words
    shares = {name: found[name] / total[name.removesuffix(" named")] for name in sorted(found)}
    return shares | {"milliseconds": milliseconds}


def main() -> None:
    options = arguments(__doc__, seeds=1)
    frame = crossner("conll2003", "test")
    rows = frame.iloc[:200] if options.quick else frame
    sentences = list(zip(rows["words"], rows["tags"], strict=True))
    records = []
    for engine in ("patterns", "presidio"):
        for name, value in figures(Masker(engine=engine), sentences).items():
            print(f"{engine:10}{name:24}{value:8.3f}")
            records.append(Record("personal names", "CoNLL-2003 test", engine, name, value))
    write(records, options.json)


if __name__ == "__main__":
    main()

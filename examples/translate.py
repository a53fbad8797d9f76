"""Translate an interface: learn from the sentences of some components, go on to a new one with a few corrections.

    python examples/translate.py [--from es] [--to pt_BR] [--new admin] [--labels 24] [--epochs N] [FOLDER]

The sentences are those of message catalogues (gettext .mo files, FOLDER/.../COMPONENT/locale/LANGUAGE/LC_MESSAGES);
without a folder those of the package Django, some 1,000 a language. English is what the catalogues are keyed by.
"""

import argparse
import gettext
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

import aet
from aet.attention import applied
from aet.outputs.chrf import chrf

LONGEST = 100
"""Characters of a sentence; some are whole paragraphs."""
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd]|\{\w*\}")
SETTINGS = {
    "model": {"dim": 64, "depth": 2, "dropout": 0.2},
    "output": {"vocabulary": 500, "depth": 2},
    "train": {"epochs": 5, "batch_size": 16, "lr": 0.003, "drift": 0.0, "rehearsals": 0, "monitor": "metric"},
}


def catalogue(folder: Path, language: str) -> dict[tuple[str, str, int], str]:
    """Sentences by component, the English sentence, and the number of a plural form."""
    found = {}
    for path in sorted(folder.rglob(f"locale/{language}/LC_MESSAGES/*.mo")):
        with path.open("rb") as file:
            messages = gettext.GNUTranslations(file)._catalog  # the standard library has no other door to all of them
        for key, text in messages.items():
            english, form = key if isinstance(key, tuple) else (key, 0)
            if english:
                found[path.parents[3].name, english, form] = text.strip()
    return found


def sentences(folder: Path, source: str, target: str) -> pd.DataFrame:
    """component, source and target, each source once."""
    into = catalogue(folder, target)
    known = {key: key[1].split("\x04")[-1].strip() for key in into} if source == "en" else catalogue(folder, source)
    rows = [(key[0], known[key], text) for key, text in into.items() if known.get(key) and text]
    frame = pd.DataFrame(rows, columns=["component", "source", "target"])
    short = (frame["source"].str.len() <= LONGEST) & (frame["target"].str.len() <= LONGEST)
    return frame[short].drop_duplicates("source", ignore_index=True)


def with_copies(rows: pd.DataFrame) -> pd.DataFrame:
    """The pairs, and each target as its own source: few pairs teach to copy better (Currey et al. 2017, W17-4715).

    `pair` is the number of the pair, so that both of it are held out together.
    """
    rows = rows.assign(pair=range(len(rows)))
    return pd.concat([rows, rows.assign(source=rows["target"])], ignore_index=True)


def kept(source: pd.Series, said: pd.Series) -> float:
    """Share of the placeholders of the sources that their translations have."""
    found = [(mark, text) for cell, text in zip(source, said, strict=True) for mark in PLACEHOLDER.findall(cell)]
    return sum(mark in text for mark, text in found) / max(len(found), 1)


def score(rows: pd.DataFrame, said: pd.Series) -> str:
    """ChrF and placeholders of translations."""
    likeness = sum(map(chrf, said, rows["target"])) / len(rows)
    return f"chrF {likeness:.3f}, placeholders kept {kept(rows['source'], said):.0%}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--from", dest="source", default="es", help="language code, or en")
    parser.add_argument("--to", dest="target", default="pt_BR")
    parser.add_argument("--new", default="admin", help="the component that is served later")
    parser.add_argument("--labels", type=int, default=24, help="sentences that somebody corrects")
    parser.add_argument("--epochs", type=int, default=SETTINGS["train"]["epochs"])
    options = parser.parse_args()
    if options.folder is None:
        django = find_spec("django")
        if django is None or django.origin is None:
            print("Skipped: pip install Django, or name a folder of message catalogues (.mo).")
            sys.exit()
        options.folder = Path(django.origin).parent

    rows = sentences(options.folder, options.source, options.target)
    old, new = rows[rows["component"] != options.new], rows[rows["component"] == options.new]
    if len(old) < 100 or len(new) < 20:
        sys.exit(f"{len(old)} sentences of other components and {len(new)} of {options.new!r}: name other languages.")
    test = old.sample(frac=0.1, random_state=0)
    config = {**SETTINGS, "train": {**SETTINGS["train"], "epochs": options.epochs}}
    model = aet.train(
        with_copies(old.drop(test.index)[["source", "target"]]),
        target="target",
        group="pair",
        output="sequence",
        kinds={"source": "text"},
        config=config,
        progress=True,
    )
    print(f"{len(test)} sentences of known components: {score(test, model.predict(test)['prediction'])}")
    print(f"  the source as it stands: {score(test, test['source'])}")

    # A new component comes, and somebody corrects the translations that are worth it.
    stream = model.stream()
    new = new.sample(frac=1, random_state=0, ignore_index=True)
    half = len(new) // 2
    stream.predict(new[:half][["source"]])
    worth = stream.ask(options.labels)
    stream.feedback(worth, [new["target"][row] for row in worth])
    later = new[half:].reset_index(drop=True)
    print(f"{len(worth)} sentences of {options.new!r} corrected; {len(later)} others, not seen so far:")
    print("  as trained:", score(later, model.predict(later)["prediction"]))
    with applied(stream.state):
        print("  as learned:", score(later, model.predict(later)["prediction"]))
    print("  the source as it stands:", score(later, later["source"]))
    print("  served:", "what was learned" if stream.serving else f"as trained; {stream.guard.reason()}")
    answers = stream.predict(later[["source"]])
    for row in answers["confidence"].nlargest(4).index:
        print(f"  {later['source'][row]!r} -> {answers['prediction'][row]!r}  ({answers['confidence'][row]:.2f})")

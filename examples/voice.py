"""Digits by voice: learn from some speakers, meet a new one, learn from 16 words, and show what was listened to.

    python examples/voice.py [FOLDER | TABLE.csv] [--label COLUMN] [--speaker COLUMN] [--new NAME]

FOLDER holds sound files named LABEL_SPEAKER_anything.wav; TABLE.csv has a column `clip` of paths, one of labels and one
of speakers. The speaker --new (the last by name unless given) is not trained on. Without either the Free Spoken Digit
Dataset is taken from the folder that AET_DATA names (fsdd/fsdd_recordings.tar.gz, or `fsdd/recordings`); no such
recordings come in a package.
"""

import argparse
import os
import sys
import tarfile
import warnings
from pathlib import Path

import pandas as pd

import aet
from aet.cells.waveform import SoundWarning
from aet.focus import focus

TRAINED, MET, LABELS = 700, 200, 16
SETTINGS = {
    "inputs": {"audio": {"bands": 40, "windows": 4, "seconds": 0.8}},
    "train": {"epochs": 24, "batch_size": 32, "lr": 0.003, "rehearsals": 0},
}


def row(clip: object, name: str) -> dict[str, object]:
    """A row of a file named LABEL_SPEAKER_anything."""
    label, speaker, *_ = [*Path(name).stem.split("_"), "", ""]
    return {"clip": clip, "label": label, "speaker": speaker}


def read(source: Path | None, label: str, speaker: str) -> pd.DataFrame | None:
    """Columns clip, label and speaker; None where there are no recordings."""
    if source is None:
        folder = Path(os.environ.get("AET_DATA", ".")) / "fsdd"
        packed, source = folder / "fsdd_recordings.tar.gz", folder / "recordings"
        if packed.is_file():
            with tarfile.open(packed) as archive:
                named = [(part, archive.extractfile(part)) for part in archive if part.name.endswith(".wav")]
                return pd.DataFrame([row({"bytes": f.read(), "path": p.name}, p.name) for p, f in named if f])
    if source.is_file():
        return pd.read_csv(source).rename(columns={label: "label", speaker: "speaker"})
    files = sorted(path for path in source.glob("*") if path.suffix.lower() in (".wav", ".flac", ".ogg"))
    return pd.DataFrame([row(str(path), path.name) for path in files]) if files else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="folder of sound files, or a table")
    parser.add_argument("--label", default="label", help="column of the labels")
    parser.add_argument("--speaker", default="speaker", help="column of the speakers")
    parser.add_argument("--new", help="who is met after the training")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SoundWarning)  # some clips are clipped, some longer than is read of them

    clips = read(options.source, options.label, options.speaker)
    if clips is None:
        print("Skipped: name a folder of sound files, or have fsdd in the folder that AET_DATA names.")
        sys.exit()
    clips = clips.astype({"label": str}).sample(frac=1, random_state=0).reset_index(drop=True)
    new = options.new or max(clips["speaker"])
    train = clips[clips["speaker"] != new].head(TRAINED)
    met = clips[clips["speaker"] == new].head(MET).reset_index(drop=True)
    print(f"{len(train)} clips of {train['speaker'].nunique()} speakers are learned; then comes {new}")
    model = aet.train(train[["clip", "label"]], "label", config=SETTINGS, progress=True)

    # Before any label the norms are brought to where they were in training; labels spread to clips that sound alike.
    stream = model.stream(adapt="propagate", unlabelled="always", compare=True)
    half = len(met) // 2
    answers = stream.predict(met[["clip"]][:half])
    truth = met["label"][:half]
    print(f"\nthe first {half} clips of {new}:")
    print(f"  as trained              {(answers['source_prediction'].astype(str) == truth).mean():.0%} right")
    print(f"  adapted without labels  {(answers['prediction'].astype(str) == truth).mean():.0%} right")

    worth = stream.ask(LABELS)
    stream.feedback(worth, met["label"].iloc[list(worth)].tolist())
    answers = stream.predict(met[["clip"]][half:])
    truth = met["label"][half:].reset_index(drop=True)
    print(f"the {len(truth)} after {len(worth)} of them were labelled:")
    print(f"  as trained              {(answers['source_prediction'].astype(str) == truth).mean():.0%} right")
    print(f"  as served               {(answers['prediction'].astype(str) == truth).mean():.0%} right")

    # What the answer rests on: a share a token, over pitch (rows) and time (columns).
    one = model.encode(met[["clip"]][half : half + 1])
    part = model.inputs["audio0"]
    shares = focus(model, one)[0].view(part.grid)
    print(f"\nwhat was listened to in a {truth[0]!r}, answered {answers['prediction'][0]!r}, 40 ms a column:")
    for pitch in shares.flip(0):
        print("  |" + "".join(" .:-=+*#%@"[min(9, int(9.99 * share / shares.max()))] for share in pitch.tolist()) + "|")
    print(f"\n{stream.report('runs/voice.html')}")

"""Sentences of spoken digits written down: sound in, words out, beside a plain network of connectionist classification.

    python benchmarks/transcription.py [--quick] [--seeds N] [--json FILE]

Free Spoken Digit Dataset (`fsdd` in AET_DATA): one to four clips of one speaker, a short silence between them, make a
sentence ("three one four"). Training sentences are made of recordings 5 and up of six speakers, test sentences of
recordings 0-4, the official test, of five: settings were chosen on the sixth, jackson. Measured is the share of wrong
words and letters (edits over those of the truth, with the package jiwer), and of sentences that are right as a whole.
Ours is `output="sequence"` over audio tokens. The peer reads the same energies: two convolutions, two layers of a
bidirectional LSTM, letters and blanks by CTC (Graves et al. 2006), the likeliest of each step; the same rows, epochs,
optimiser and augmentation, nothing of it chosen.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from common import Done, Record, arguments, partial, summary, write
from kinds_audio import clips
from torch import Tensor, nn

import aet
from aet.cells.waveform import SoundWarning, read_sound
from aet.inputs.audio import AudioInput
from aet.outputs.written import text_figures

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
RATE, PAUSE, MOST = 8000, (0.02, 0.12), 4
ROWS, TESTED, EPOCHS, BATCH, LR, DRIFT = 1000, 300, 12, 8, 3e-3, 0.3
SEEN = "jackson"
SETTINGS = {
    "model": {"dim": 64, "depth": 1},
    "inputs": {"audio": {"bands": 40, "windows": 8, "stem": 64, "seconds": 2.4}},
    "output": {"vocabulary": 300, "depth": 1, "smoothing": 0.0},
}


def sentences(found: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """Columns clip and said: clips of one speaker behind each other, one to four of them."""
    rng, speakers = np.random.default_rng(seed), [part for _, part in found.groupby("speaker")]
    made = []
    for _ in range(rows):
        own = speakers[rng.integers(len(speakers))]
        own = own.iloc[rng.integers(len(own), size=rng.integers(1, MOST + 1))]
        waves = [read_sound(cell).at(RATE) for cell in own["clip"]]
        pauses = [np.zeros(int(RATE * rng.uniform(*PAUSE)), np.float32) for _ in waves]
        wave = np.concatenate([part for pair in zip(waves, pauses, strict=True) for part in pair])
        made.append({"clip": (RATE, wave), "said": " ".join(WORDS[int(digit)] for digit in own["digit"])})
    return pd.DataFrame(made)


class Letters(nn.Module):
    """Energies (B, M, T) -> log-probabilities of a blank and letters (B, T/2, 28)."""

    def __init__(self, bands: int, dim: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(bands, dim, 5, 2, 2), nn.GELU(), nn.Conv1d(dim, dim, 5, 1, 2), nn.GELU(), nn.Dropout(0.1)
        )
        self.lstm = nn.LSTM(dim, dim, 2, batch_first=True, bidirectional=True, dropout=0.1)
        self.head = nn.Linear(2 * dim, 28)

    def forward(self, energies: Tensor) -> Tensor:
        """As above; what lies behind a sound's end is silence."""
        out: Tensor = self.head(self.lstm(self.stem(energies.nan_to_num(-2.0)).transpose(1, 2))[0]).log_softmax(-1)
        return out


def spelled(text: str) -> list[int]:
    """Letters as 1 to 27."""
    return [1 + " abcdefghijklmnopqrstuvwxyz".index(letter) for letter in text]


def heard(logs: Tensor) -> list[str]:
    """The likeliest letter of each step, repetitions and blanks left out."""
    rows = [torch.unique_consecutive(row).tolist() for row in logs.argmax(-1)]
    return ["".join(" abcdefghijklmnopqrstuvwxyz"[step - 1] for step in row if step).strip() for row in rows]


def peer(part: AudioInput, train: pd.DataFrame, test: pd.DataFrame, epochs: int, seed: int) -> dict[str, float]:
    """The plain network's figures."""
    torch.manual_seed(seed)
    own, draws = part.encode(train), torch.Generator().manual_seed(seed)
    truth = [spelled(text) for text in train["said"]]
    net = Letters(own.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), LR)
    steps = epochs * -(-len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.1)
    for _ in range(epochs):
        for rows in torch.randperm(len(train), generator=draws).split(BATCH):
            logs = net(part.augment(own[rows], DRIFT, draws))
            lengths = torch.full((len(rows),), logs.shape[1])
            wanted = [truth[row] for row in rows.tolist()]
            sizes = torch.tensor([len(row) for row in wanted])
            loss = F.ctc_loss(
                logs.transpose(0, 1),
                torch.tensor([letter for row in wanted for letter in row]),
                lengths,
                sizes,
                zero_infinity=True,
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        said = heard(net.eval()(part.encode(test)))
    return {**text_figures(said, test["said"].tolist()), "weights": sum(w.numel() for w in net.parameters())}


def measured(seed: int, epochs: int, rows: int, kept: Path | None) -> dict[str, float]:
    """Figures of ours and of the peer, `ours word_error` and so on; ours in the folder `kept` goes on after a stop."""
    found = clips()
    train = sentences(found[found["recording"] >= 5], rows, seed)
    test = sentences(found[(found["recording"] < 5) & (found["speaker"] != SEEN)], TESTED, 1000 + seed)
    config: dict[str, Any] = {
        **SETTINGS,
        "train": {
            "epochs": epochs,
            "batch_size": BATCH,
            "lr": LR,
            "drift": DRIFT,
            "rehearsals": 0,
            "valid": 0.1,
            "monitor": "loss",
        },
    }
    started = time.process_time()
    model = aet.train(train, target="said", output="sequence", seed=seed, config=config, out=kept)
    seconds, part = time.process_time() - started, model.inputs["audio0"]
    assert isinstance(part, AudioInput)
    ours = {**model.evaluate(test), "weights": sum(w.numel() for w in model.parameters()), "seconds": seconds}
    started = time.process_time()
    theirs = {**peer(part, train, test, epochs, seed), "seconds": time.process_time() - started}
    named = {"ours": ours, "CTC": theirs}
    return {f"{name} {figure}": value for name, figures in named.items() for figure, value in figures.items()}


def main() -> None:
    """A line a figure."""
    options = arguments(__doc__, seeds=1)
    warnings.simplefilter("ignore", SoundWarning)
    done, epochs, rows = Done(partial(options.json)), 4 if options.quick else EPOCHS, 300 if options.quick else ROWS
    found = []
    for seed in range(options.seeds):
        kept = options.json.with_suffix(f".{seed}") if options.json else None
        key = f"{seed} {epochs} {rows}"
        found.append(done.get(key, lambda seed=seed, kept=kept: measured(seed, epochs, rows, kept)))
    records = []
    for method in ("ours", "CTC"):
        for metric in ("word_error", "letter_error", "exact", "weights", "seconds"):
            value, spread = summary([figures[f"{method} {metric}"] for figures in found])
            records.append(Record("transcription", "digits", method, metric, value, spread=spread, seeds=len(found)))
            print(f"{method:6}{metric:14}{value:12.4f} ± {spread:.4f}")
    write(records, options.json)


if __name__ == "__main__":
    main()

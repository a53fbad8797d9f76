"""Texts as answers: a toy that must be solved, and interface sentences from one language into another.

    python benchmarks/kinds_sequence.py [--quick] [--seeds N] [--json FILE]

Toy: letters to be written again, and from the last to the first; the share of texts that are right to the last piece.
Translation: the message catalogues of the package Django, Spanish into Brazilian Portuguese (`examples/translate.py`),
by component: 15 % of the sentences of all components but `admin` are the test, and the sentences of `admin` that no
other component has are the new component. Beside each other: our model, the same without copying, a plain
`nn.Transformer` of the same size with the same pieces, rows, steps, optimiser and smoothing, and the source as it
stands. All learn each target from itself too (Currey et al. 2017, W17-4715), and keep the epoch of the best chrF on
held-out pairs. BLEU and chrF as sacrebleu counts them, `chrf` the mean over sentences, placeholders (%(name)s) that the
translation has of its source's. Then 16 and 64 corrected sentences of the new component, measured on its other half, as
served and as proposed. Throughput: steps of training on one batch, ours over the plain one's.
"""

from __future__ import annotations

import math
import runpy
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from common import Done, Record, arguments, partial, summary, write
from torch import Tensor, nn

import aet
from aet.attention import applied
from aet.errors import DataError
from aet.inputs.pieces import END, PAD, START
from aet.model import Model
from aet.outputs.chrf import each_chrf
from aet.outputs.sequence import SequenceOutput
from aet.outputs.written import text_figures
from aet.schema import infer
from aet.training.schedule import SCHEDULES
from aet.training.split import split

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "translate.py"))
PAIR, NEW, LABELS = ("es", "pt_BR"), "admin", (16, 64)
EPOCHS, SIZE, SMOOTHING, LR, ROWS = 12, 64, 0.1, 0.003, 16
MODEL = {"dim": SIZE, "depth": 2, "heads": 4, "dropout": 0.2}
OUTPUT = {"vocabulary": 500, "depth": 2, "smoothing": SMOOTHING}


def settings(epochs: int, copying: bool = True) -> dict[str, Any]:
    """Of our model."""
    train = {
        "epochs": epochs,
        "patience": epochs,
        "batch_size": ROWS,
        "lr": LR,
        "drift": 0.0,
        "rehearsals": 0,
        "monitor": "metric",
    }
    return {"model": MODEL, "output": {**OUTPUT, "copying": copying}, "train": train}


def letters(rows: int, seed: int, turned: bool) -> pd.DataFrame:
    """The toy."""
    rng = np.random.default_rng(seed)
    made = [rng.choice(list("abcdefgh"), rng.integers(2, 7)).tolist() for _ in range(rows)]
    said = [row[::-1] if turned else row for row in made]
    return pd.DataFrame({"source": [" ".join(row) for row in made], "target": [" ".join(row) for row in said]})


def trained(rows: pd.DataFrame, config: dict[str, Any], seed: int) -> Model:
    """Our model of these rows; pairs are held out as a whole."""
    group = "pair" if "pair" in rows else None
    return aet.train(
        rows, target="target", output="sequence", kinds={"source": "text"}, group=group, config=config, seed=seed
    )


def toy(seed: int, quick: bool, turned: bool) -> dict[str, float]:
    """Share of 200 new texts that are right."""
    config = settings(12 if quick else 16)
    config |= {"model": {**MODEL, "dim": 32, "dropout": 0.0}, "output": {**OUTPUT, "vocabulary": 280}}
    started = time.perf_counter()
    model = trained(letters(600 if quick else 1000, seed, turned), config, seed)
    return {
        "exact": model.evaluate(letters(200, 100 + seed, turned))["exact"],
        "seconds": time.perf_counter() - started,
    }


@lru_cache
def catalogues() -> pd.DataFrame:
    """Sentences of Django; DataError without it."""
    found = find_spec("django")
    if found is None or found.origin is None:
        raise DataError(
            "The sentences are those of the package Django: expected it to be installed. pip install Django"
        )
    rows: pd.DataFrame = EXAMPLE["sentences"](Path(found.origin).parent, *PAIR)
    return rows


def parts(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Sentences to train on, to test on, and of the new component in an order of its own."""
    rows = catalogues()
    old, new = rows[rows["component"] != NEW], rows[rows["component"] == NEW]
    test = old.sample(frac=0.15, random_state=seed)
    columns = ["source", "target"]
    train = EXAMPLE["with_copies"](old.drop(test.index)[columns].reset_index(drop=True))
    shuffled = new[columns].sample(frac=1, random_state=seed).reset_index(drop=True)
    return train, test[columns].reset_index(drop=True), shuffled


def figures(rows: pd.DataFrame, said: list[str], where: str) -> dict[str, float]:
    """Of translations."""
    truth = rows["target"].tolist()
    found = {"chrf": float(each_chrf(said, truth).mean()), **text_figures(said, truth)}
    found["placeholders"] = EXAMPLE["kept"](rows["source"], pd.Series(said))
    return {f"{where} {name}": value for name, value in found.items()}


def everywhere(seed: int, says: Callable[[pd.DataFrame], list[str]]) -> dict[str, float]:
    """Figures on known components and on the new one's second half, which no correction touches."""
    _, test, new = parts(seed)
    later = new[len(new) // 2 :].reset_index(drop=True)
    return figures(test, says(test), "known") | figures(later, says(later), "new")


def ours(seed: int, epochs: int, copying: bool) -> dict[str, float]:
    """Our model; with copying also what a few corrections teach it."""
    train, _, new = parts(seed)
    started = time.perf_counter()
    model = trained(train, settings(epochs, copying), seed)
    found = {"seconds": time.perf_counter() - started}
    found |= everywhere(seed, lambda rows: model.predict(rows[["source"]])["prediction"].tolist())
    for labels in LABELS if copying else ():
        found |= corrected(model, new, labels)
    return found


def corrected(model: Model, new: pd.DataFrame, labels: int) -> dict[str, float]:
    """ChrF on the second half of the new component after so many corrections in the first, asked for by the stream."""
    half = len(new) // 2
    later = new[half:].reset_index(drop=True)
    stream = model.stream()
    stream.predict(new[:half][["source"]])
    worth = stream.ask(labels)
    stream.feedback(worth, [new["target"][row] for row in worth])
    found = {}
    for name, state in (("served", stream.served_state), ("proposed", stream.state)):
        with applied(state):
            said = model.predict(later[["source"]])["prediction"].tolist()
        found |= {f"{labels} {key}": value for key, value in figures(later, said, name).items()}
    return {**found, f"{labels} serves": float(stream.serving)}


class Plain(nn.Module):
    """PyTorch's own transformer of the same size: tied embeddings, learned positions, norms first."""

    def __init__(self, pieces: int, places: int) -> None:
        super().__init__()
        self.head = nn.Linear(SIZE, pieces)
        self.positions = nn.Parameter(0.1 * torch.randn(places, SIZE))
        self.body = nn.Transformer(
            SIZE, MODEL["heads"], MODEL["depth"], OUTPUT["depth"], 2 * SIZE, MODEL["dropout"], "gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip

    def embedded(self, pieces: Tensor) -> Tensor:
        """(B, T) -> (B, T, dim)."""
        return F.embedding(pieces, self.head.weight) * SIZE**0.5 + self.positions[: pieces.shape[1]]

    def forward(self, source: Tensor, before: Tensor) -> Tensor:
        """Logits (B, T, V) of what follows each piece."""
        hidden = source == PAD
        causal = nn.Transformer.generate_square_subsequent_mask(before.shape[1])
        made = self.body(
            self.embedded(source), self.embedded(before), tgt_mask=causal, src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden, tgt_is_causal=True,
        )  # fmt: skip
        out: Tensor = self.head(made)
        return out

    def loss(self, source: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean over rows of the mean over pieces, as ours; columns that no row fills are left out."""
        source, target = (t[:, : max(1, int((t != PAD).sum(1).max()))] for t in (source, target))
        before = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], 1)
        each = F.cross_entropy(
            self(source, before).transpose(1, 2), target, reduction="none", label_smoothing=smoothing, ignore_index=PAD
        )
        return (each.sum(1) / (target != PAD).sum(1)).mean()

    @torch.no_grad()
    def says(self, source: Tensor, most: int) -> Tensor:
        """Greedy answers (B, most)."""
        source = source[:, : max(1, int((source != PAD).sum(1).max()))]
        said, ended = torch.full((len(source), 1), START), torch.zeros(len(source), dtype=torch.bool)
        for _ in range(most):
            piece = self(source, said)[:, -1].index_fill(-1, torch.tensor([PAD, 1, START]), -torch.inf).argmax(-1)
            said = torch.cat([said, piece.masked_fill(ended, PAD)[:, None]], 1)
            ended |= piece == END
            if bool(ended.all()):
                break
        return said[:, 1:]


def prepared(seed: int) -> tuple[Model, pd.DataFrame]:
    """A model of ours that has its tokenizers and no training, and the rows it is to train on."""
    from aet.config import Config

    train, _, _ = parts(seed)
    schema = infer(train, "target", output="sequence", kinds={"source": "text"}, group="pair")
    torch.manual_seed(seed)
    rows, _ = split(train, schema, Config.read(settings(1)).train.valid, seed)
    return Model(schema, Config.read(settings(1), seed=seed)).fit_columns(train.iloc[rows]), train


def plain(seed: int, epochs: int) -> dict[str, float]:
    """PyTorch's transformer on the same rows in the same way: AdamW, schedule, the best epoch's weights."""
    model, train = prepared(seed)
    output, part = model.output, model.inputs["text0"]
    assert isinstance(output, SequenceOutput)
    assert output.pieces is not None
    rows, held = split(train, model.schema, model.config.train.valid, seed)
    source, target = part.encode(train), output.encode(train)
    torch.manual_seed(seed)
    net = Plain(output.pieces.get_vocab_size(), max(source.shape[1], output.length) + 1)
    groups = [{"params": [p for p in net.parameters() if (p.ndim > 1) == big], "weight_decay": decay}
              for big, decay in ((True, model.config.train.weight_decay), (False, 0.0))]  # fmt: skip
    optimiser = torch.optim.AdamW(groups, lr=LR)
    steps, step, best, kept, started = epochs * math.ceil(len(rows) / ROWS), 0, -1.0, {}, time.perf_counter()
    for epoch in range(epochs):
        net.train()
        order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=torch.Generator().manual_seed(epoch))]
        for index in order.split(ROWS):
            for group in optimiser.param_groups:
                group["lr"] = LR * SCHEDULES["cosine"](step, steps, model.config.train.warmup)
            net.loss(source[index], target[index], SMOOTHING).backward()
            nn.utils.clip_grad_norm_(net.parameters(), model.config.train.clip)
            optimiser.step()
            optimiser.zero_grad()
            step += 1
        net.eval()
        said = output.texts(net.says(source[held], output.most))
        score = float(each_chrf(said, output.texts(target[held])).mean())
        if score > best:
            best, kept = score, {name: t.clone() for name, t in net.state_dict().items()}
    net.load_state_dict(kept)
    net.eval()
    found = {"seconds": time.perf_counter() - started}
    return found | everywhere(seed, lambda rows: output.texts(net.says(part.encode(rows), output.most)))


def throughput(seed: int, quick: bool) -> dict[str, float]:
    """Rows a second of training steps without an optimiser, ours with and without copying, and the plain one."""
    model, train = prepared(seed)
    output, part = model.output, model.inputs["text0"]
    assert isinstance(output, SequenceOutput)
    assert output.pieces is not None
    batch = model.encode(train.head(ROWS * 4).assign(), target=True)
    assert batch.target is not None
    net = Plain(output.pieces.get_vocab_size(), max(part.length, output.length) + 1)
    pointer = output.pointer
    model.train()

    def own(copying: bool) -> Callable[[], Tensor]:
        def step() -> Tensor:
            output.pointer = pointer if copying else None
            return output.loss(model(batch), batch.target)

        return step

    ways = {
        "ours": own(True),
        "without copying": own(False),
        "plain": lambda: net.loss(batch.values["text0"], batch.target, SMOOTHING),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5 if quick else 15):
        for name, step in ways.items():
            started = time.process_time()
            step().backward()
            times[name].append(time.process_time() - started)
    best = {name: len(batch) / float(np.median(each)) for name, each in times.items()}
    return {
        **best,
        "ratio": best["ours"] / best["plain"],
        "ratio without copying": best["without copying"] / best["plain"],
    }


def run(quick: bool, seeds: int, path: Path | None = None) -> list[Record]:
    """All records; finished parts are kept beside `path`."""
    done, epochs = Done(partial(path)), 6 if quick else EPOCHS
    seeds = 1 if quick else seeds
    tasks: dict[tuple[str, str], Callable[[int], dict[str, float]]] = {
        ("translation", "source as it stands"): lambda seed: everywhere(seed, lambda rows: rows["source"].tolist()),
        ("translation", "ours"): lambda seed: ours(seed, epochs, True),
        ("translation", "without copying"): lambda seed: ours(seed, epochs, False),
        ("translation", "nn.Transformer"): lambda seed: plain(seed, epochs),
        ("throughput", "rows a second"): lambda seed: throughput(seed, quick),
        ("toy copy", "ours"): lambda seed: toy(seed, quick, False),
        ("toy reverse", "ours"): lambda seed: toy(seed, quick, True),
    }
    runs: dict[tuple[str, str], list[dict[str, float]]] = {name: [] for name in tasks}
    for seed in range(seeds):
        for name, compute in tasks.items():
            key = f"{' '.join(name)} {seed} {epochs}"
            runs[name].append(done.get(key, lambda seed=seed, compute=compute: compute(seed)))
            print(key, {metric: round(value, 3) for metric, value in runs[name][-1].items()}, flush=True)
    records = []
    for (task, method), each in runs.items():
        for metric in each[0]:
            value, spread = summary([one[metric] for one in each])
            records.append(Record("kinds_sequence", task, method, metric, value, None, spread, seeds))
            print(f"{task:12} {method:20} {metric:32} {value:8.3f} +- {spread:.3f}", flush=True)
    return records


def main() -> None:
    """Print all figures."""
    chosen = arguments(__doc__)
    write(run(chosen.quick, chosen.seeds, chosen.json), chosen.json)


if __name__ == "__main__":
    main()

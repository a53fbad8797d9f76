"""What answers in `tables.py`: `aet.train`, three networks and three kinds of boosted trees."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tables_data import Parts, score
from torch import Tensor, nn

import aet
from aet.config import ModelConfig
from aet.sizes import DEPTH, DIM

TREES = ("HistGradientBoosting", "LightGBM", "CatBoost")

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

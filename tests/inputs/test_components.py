"""Fewer numbers for a group: PCA and LDA as tensors."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import aet
from aet.errors import ConfigError
from aet.inputs.components import components
from aet.inputs.number import NumberInput
from aet.schema import InputSpec

SPECS = [InputSpec("s", "number", ("a", "b", "c"))]


def rows(count=120, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 3)) @ rng.normal(size=(3, 3)) + 2 * np.eye(3)[y]
    return pd.DataFrame(x, columns=list("abc")), y


def squashed(part, frame):
    return part.squash(part.encode(frame).nan_to_num(0.0))[:, 0].double().numpy()


def reduced(frame, y=None, **settings):
    part = NumberInput(SPECS, 6)
    part.fit(frame, settings, None if y is None else torch.tensor(y))
    part.build()
    return part, part.drawn_together(part.squash(part.encode(frame)))[:, 0].detach().numpy()


def test_pca_is_scikit_learns_whitened():
    frame, _ = rows()
    part, found = reduced(frame, reduce="pca", components=2)
    expected = PCA(2, whiten=True).fit_transform(squashed(part, frame))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    assert part.weight.shape == (1, 2, 6)


def test_lda_is_scikit_learns():
    frame, y = rows()
    part, found = reduced(frame, y, reduce="lda", components=2)
    expected = LinearDiscriminantAnalysis(n_components=2).fit(squashed(part, frame), y)
    np.testing.assert_allclose(found, expected.transform(squashed(part, frame)), atol=1e-4)


def test_there_are_no_more_components_than_directions():
    flat = np.random.default_rng(0).normal(size=(50, 1)) @ np.ones((1, 4))
    assert components(flat, "pca", 3, None)[1].shape == (4, 1)
    x = np.random.default_rng(0).normal(size=(60, 4))
    assert components(x, "lda", 3, np.arange(60) % 2)[1].shape == (4, 1)


def test_missing_cells_count_as_the_center_and_keep_their_mark():
    frame, y = rows()
    frame.iloc[::7, 0] = np.nan
    part, _ = reduced(frame, y, reduce="lda", components=2)
    gap, center = frame.iloc[[0]].copy(), frame.iloc[[0]].copy()
    center["a"] = float(part.center[0, 0])
    difference = part(part.encode(gap))[0] - part(part.encode(center))[0]
    torch.testing.assert_close(difference[0, 0], part.missing[0, 0], rtol=1e-4, atol=1e-5)


def test_lda_needs_classes_and_reduce_needs_a_group():
    frame, y = rows()
    train = {"epochs": 1}
    with pytest.raises(ConfigError, match=r"expected a target that is a label.*Use 'pca'"):
        aet.train(
            frame.assign(y=np.linspace(0, 1, len(frame))),
            "y",
            groups={"s": ["a", "b", "c"]},
            config={"train": train, "inputs": {"number": {"reduce": "lda"}}},
        )
    with pytest.raises(ConfigError, match=r"expected a declared group, got single columns only"):
        aet.train(frame.assign(y=y), "y", config={"train": train, "inputs": {"number": {"reduce": "pca"}}})

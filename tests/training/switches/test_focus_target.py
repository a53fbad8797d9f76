"""Supervised focus: the divergence by hand, names of tokens and of texts, texts of any length."""

import math

import pytest
import torch

from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switches.focus_target import FocusTarget, divergence

from ...made import signs
from ..loops import prepared
from .test_focus_variance import attention, run_of, term


def test_the_divergence_by_hand():
    p, a = torch.tensor([3.0, 1.0, 0.0]), torch.tensor([0.5, 0.25, 0.25])
    assert float(divergence(p, a)) == pytest.approx(0.75 * math.log(0.75 / 0.5) + 0)
    assert float(divergence(a, a)) == pytest.approx(0, abs=1e-7)
    assert float(divergence(torch.zeros(3), a)) == 0


def test_names_are_those_of_tokens_or_of_a_text_whose_real_tokens_share():
    model, *rows = prepared()
    names = model.token_names()
    switch = FocusTarget(importances={"number": 1, "text": 3})
    switch.begin(run_of(model, *rows))
    _, mask = model.tokens(rows[0])
    weights = mask / mask.sum(1, keepdim=True)
    got = switch.pooled(weights, mask)
    for row in range(5):
        pieces = [i for i, name in enumerate(names) if name.startswith("text[") and mask[row, i]]
        p = torch.zeros(len(names))
        p[names.index("number")], p[pieces] = 0.25, 0.75 / len(pieces)
        expected = torch.special.xlogy(p, p / weights[row].clamp_min(1e-9)).sum()
        torch.testing.assert_close(got[row], expected)


def test_attention_goes_where_it_is_told():
    switches = {"focus_target": {"importances": {"b": 1.0}, "strength": 3.0}}
    model, *rows = prepared(signs(150), epochs=8, lr=0.03, switches=switches)
    fit(model, *rows)
    assert float(attention(model, rows[1])[:, model.token_names().index("b")].mean()) > 0.8


def test_the_term_is_added_to_the_loss():
    model, *rows = prepared(signs(150))
    run, switch = run_of(model, *rows), FocusTarget(strength=2.0, importances={"a": 1.0})
    switch.begin(run)
    assert float(term(switch, model.eval(), rows[0], run).detach()) == pytest.approx(2 * math.log(2), rel=1e-4)


@pytest.mark.parametrize("importances", [{}, {"a": 0.0}])
def test_no_importance_at_all(importances):
    with pytest.raises(ConfigError, match="needs importances"):
        FocusTarget(importances=importances)


@pytest.mark.parametrize("importances", [{"a": -1}, {"a": float("inf")}, {"a": True}, {1: 1.0}, ["a"]])
def test_importances_that_are_none(importances):
    with pytest.raises(ConfigError, match=r"importances .* a mapping of names to finite numbers"):
        FocusTarget(importances=importances)


def test_a_name_that_no_token_has():
    model, *rows = prepared(switches={"focus_target": {"importances": {"nummber": 1.0}}})
    with pytest.raises(ConfigError, match=r"no token 'nummber'. Did you mean 'number'"):
        fit(model, *rows)

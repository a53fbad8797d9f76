"""Tokens that are kept: read once, the same answers, bounded, and never where the network would say something else."""

import pytest
import torch

from aet.attention.state import ElasticState, applied
from aet.config import Config
from aet.inputs.backbone import Backbone
from aet.model import Model
from aet.schema import infer
from aet.training import kept_tokens
from aet.training.gather import gather
from aet.training.kept_tokens import keeping, untouched
from aet.training.loop import fit

from ..inputs.networks import network
from ..made import sentences


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(network(tmp_path_factory.mktemp("network")))


@pytest.fixture
def read(monkeypatch):
    """Counts the windows that pass through a network."""
    counts, passed = [], Backbone.passed

    def counted(self, ids, mask, lengths, order, rows, added=None):
        counts.append(len(order))
        return passed(self, ids, mask, lengths, order, rows, added)

    monkeypatch.setattr(Backbone, "passed", counted)
    return counts


def made(folder, epochs=4, drift=0.0, tuning="frozen", limit=None, **text):
    train = {"epochs": epochs, "batch_size": 16, "lr": 0.02, "rehearsals": 0, "drift": drift}
    config = {"inputs": {"text": {"backbone": folder, "tuning": tuning, **text}}, "train": train}
    rows = sentences(60)
    torch.manual_seed(0)
    model = Model(infer(rows, "y"), Config.read(config)).fit_columns(rows)
    return model, *(model.encode(part, target=True) for part in (rows[:40], rows[40:]))


def none_kept(*args, **kwargs):
    return keeping(torch.nn.Module())


def test_each_text_is_read_once(folder, read):
    model, train, valid = made(folder)
    fit(model, train, valid)
    assert sum(read) == 60, "without drift the drifted copy is the copy"
    assert model.inputs["text0"].backbone.kept is None


def test_texts_that_drift_changed_are_read(folder, read):
    model, train, valid = made(folder, drift=1.0)
    share = untouched(model, train, 1.0)
    assert 0.05 < share < 0.95
    assert untouched(model, train, 0.0) == 1.0
    fit(model, train, valid)
    plain = 4 * (40 + 2 * 20)
    assert 80 < sum(read) < plain
    read.clear()
    model, train, valid = made(folder, epochs=1, drift=1.0)
    fit(model, train, valid)
    assert sum(read) <= 40 + 2 * 20, "one epoch does not pay for reading the rows to train on"


@pytest.mark.parametrize("drift", [0.0, 1.0])
@pytest.mark.parametrize("limit", [None, 9_000, 0])
def test_answers_are_those_without(drift, limit, folder, monkeypatch):
    one, train, valid = made(folder, drift=drift)
    if limit is not None:
        monkeypatch.setattr(kept_tokens, "KeptTokens", lambda _: Kept(limit))
    fit(one, train, valid)
    monkeypatch.setattr("aet.training.loop.kept_in_training", none_kept)
    two, train, valid = made(folder, drift=drift)
    fit(two, train, valid)
    torch.testing.assert_close(one.logits(valid), two.logits(valid), rtol=1e-4, atol=1e-5)


class Kept(kept_tokens.KeptTokens):
    """Checks that no more is kept than there is room for."""

    def keep(self, key, tokens):
        super().keep(key, tokens)
        assert self.room >= 0


def test_a_limit_is_held(folder, read):
    model, train, _ = made(folder)
    with keeping(model, limit=5_000) as (kept,), torch.no_grad():
        model.eval().tokens(train)
        first = sum(read)
        model.tokens(train)
        assert 0 < len(kept.texts) < 40
        assert sum(t.numel() * t.element_size() + len(key) for key, t in kept.texts.items()) <= 5_000
        assert sum(read) == 2 * first - len(kept.texts)
        assert (kept.asked, kept.found) == (80, len(kept.texts))


def test_windows_are_kept_one_by_one(folder):
    model, train, _ = made(folder, max_pieces=6, windows=3)
    with torch.no_grad():
        expected = model.eval().tokens(train)[0]
        with keeping(model):
            for _ in range(2):
                torch.testing.assert_close(model.tokens(train)[0], expected, rtol=1e-5, atol=1e-6)


def test_what_the_network_would_say_otherwise_is_not_taken(folder, read):
    model, train, _ = made(folder, tuning="full")
    state = ElasticState.zeros(model).map(lambda name, t: t + 0.2)
    with keeping(model) as (kept,):
        with torch.no_grad():
            plain = model.eval().tokens(train)[0]
            assert kept.texts
            with applied(state):
                assert (model.tokens(train)[0] - plain).abs().max() > 1e-3
            model.train()
            assert (model.tokens(train)[0] - plain).abs().max() > 1e-3, "dropout"
            model.eval()
        assert model.tokens(train)[0].requires_grad, "a gradient is wanted"
        inputs = ElasticState({"inputs.other.scale": torch.ones(1)})
        read.clear()
        with torch.no_grad(), applied(inputs):
            model.tokens(train)
        assert not read, "the state of another input changes no text"
    with keeping(model, frozen=True) as kept:
        assert not kept


def test_statistics_read_each_text_once_and_come_out_the_same(folder, read, monkeypatch):
    model, train, valid = made(folder, tuning="full")
    rows = sentences(60)[:40]
    model.eval()
    fewer = gather(model, rows, train, valid)
    kept = sum(read)
    read.clear()
    monkeypatch.setattr("aet.training.gather.keeping", none_kept)
    plain = gather(model, rows, train, valid)
    assert kept < 0.8 * sum(read)
    for one, two in zip(fewer.layers, plain.layers, strict=True):
        torch.testing.assert_close(one.mean, two.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fewer.entropy, plain.entropy, rtol=1e-4, atol=1e-5)
    assert fewer.attention == pytest.approx(plain.attention, abs=1e-5)
    for name, t in plain.fisher.items():
        torch.testing.assert_close(fewer.fisher[name], t, rtol=1e-3, atol=1e-6)

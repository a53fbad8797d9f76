"""Source statistics against direct sums over all tokens."""

import pytest
import torch

import aet
from aet.attention.state import ElasticState
from aet.levels import LEVELS
from aet.monitoring.sketch import EDGES
from aet.statistics import label_shares
from aet.token_moments import LEAST
from aet.training.activations import activations
from aet.training.gather import DRIFTS, gather

from ..made import mixed, quick, signs


@pytest.fixture(scope="module")
def scene():
    frame = mixed(90)
    model = aet.train(frame, target="y", kinds={"text": "text"}, config=quick(2, depth=2))
    checked = model.check(frame).frame
    return model, checked, model.encode(checked, target=True)


@pytest.mark.parametrize("rows", [7, 512])
def test_moments_are_those_over_all_unpadded_tokens(scene, rows):
    model, _, batch = scene
    taps = []
    with torch.no_grad():
        _, mask = model.tokens(batch)
        model(batch, taps)
        layers = activations(model, batch, rows).layers
    assert len(layers) == 3
    assert not mask.all()
    for layer, tap in zip(layers, taps, strict=True):
        flat = (tap[mask] if tap.shape[1] == mask.shape[1] else tap.flatten(0, 1)).double()
        torch.testing.assert_close(layer.mean, flat.mean(0).float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.std, flat.std(0, correction=0).float(), rtol=1e-3, atol=1e-3)


def test_one_pass_gives_classes_and_norms_as_well(scene):
    model, _, batch = scene
    pieces, whole = activations(model, batch, 7), activations(model, batch)
    k, taps = LEAST, []
    with torch.no_grad():
        model(batch, taps)
    summary, place = taps[-1][:, 0].double(), 1
    own, count = summary[batch.target == place], int((batch.target == place).sum())
    mean = (count * own.mean(0) + k * summary.mean(0)) / (count + k)
    variance = (count * own.var(0, correction=0) + k * summary.var(0, correction=0)) / (count + k)
    for found in (pieces, whole):
        torch.testing.assert_close(found.classes[-1].mean[place], mean.float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.classes[-1].std[place], variance.sqrt().float(), rtol=1e-3, atol=1e-3)
        assert len(found.norms) == 2 * 2 + 1
    for name, norm in pieces.norms.items():
        torch.testing.assert_close(norm.mean, whole.norms[name].mean, rtol=1e-4, atol=1e-5)


def test_a_class_without_a_row_has_the_moments_of_all(scene):
    model, _, batch = scene
    found = activations(model, batch[batch.target == 0])
    for layer, classes in zip(found.layers, found.classes, strict=True):
        assert torch.equal(classes.mean[1], layer.mean)
        torch.testing.assert_close(classes.mean[0], layer.mean)


def test_statistics_say_what_validation_showed(scene):
    model, frame, batch = scene
    statistics = gather(model, frame, batch, batch)
    guesses = model.logits(batch).argmax(1)
    assert statistics.confusion.sum() == pytest.approx(1.0)
    assert statistics.confusion.trace() == pytest.approx(float((guesses == batch.target).float().mean()))
    assert torch.equal(statistics.label_mix, label_shares(batch.target, 2))
    assert statistics.entropy.shape == (101,)
    assert (statistics.entropy.diff() >= 0).all()
    assert set(statistics.columns) == {"number", "flat", "category", "text"}
    assert len(statistics.attention) == len(model.token_names())
    assert sum(statistics.attention) == pytest.approx(1.0, abs=1e-4)


def test_how_sure_and_how_right_held_out_answers_are(scene):
    model, frame, batch = scene
    drawn = torch.random.get_rng_state()
    kept = gather(model, frame, batch, batch).held_out
    assert torch.equal(torch.random.get_rng_state(), drawn)
    answers = model.output.answers(model.logits(batch))
    assert kept.rows == len(batch)
    assert kept.confidence == pytest.approx(answers["confidence"].mean())
    assert kept.accuracy == pytest.approx(float((model.logits(batch).argmax(1) == batch.target).float().mean()))
    assert kept.drifts.shape == (DRIFTS, 3)
    assert kept.drifts.std(0).min() > 0
    again = gather(model, frame, batch, batch).held_out
    assert (again.drifts == kept.drifts).all()


def test_numbers_have_no_confidence_to_keep():
    frame = signs(60).assign(y=lambda f: f["a"] - f["b"])
    assert aet.train(frame, target="y", config=quick(1)).statistics.held_out is None


def test_only_moments_are_kept_never_rows(scene):
    model, *_ = scene
    named = model.statistics.tensors()
    tokens = sum(t.numel() for name, t in named.items() if name.startswith("tokens."))
    dials = sum(t.numel() for t in ElasticState.zeros(model).values())  # each has its Fisher, each norm its moments
    levels = sum(t.numel() for name, t in named.items() if name.startswith("inputs."))
    columns = sum(len(spec.columns) for spec in model.schema.inputs)
    assert levels <= model.output.width * LEVELS * columns
    classes = sum(t.numel() for name, t in named.items() if name.startswith("classes."))
    assert classes <= model.output.width * 2 * model.config.model.dim * len(model.statistics.layers)
    watch = sum(t.numel() * t.element_size() for name, t in named.items() if name.startswith("watch."))
    assert watch < 24_000 + 12 * EDGES * columns  # the view of features, and a sketch a column
    watch = sum(t.numel() for name, t in named.items() if name.startswith("watch."))
    rest = sum(t.numel() for t in named.values()) - tokens - levels - classes - watch
    assert rest < 300 + 4 + 101 + 3 * DRIFTS + 2 * dials
    rows, count, dim = model.report["rows"], len(model.token_names()), model.config.model.dim
    assert tokens <= (model.output.width + rows // LEAST + 1) * count * dim + model.output.width + count

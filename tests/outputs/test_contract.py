"""What every kind of output promises; kinds are found in the registry."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.cells.words import MOST
from aet.errors import ConfigError, DataError, FeedbackError
from aet.outputs import OUTPUTS, Output
from aet.outputs.tags import marked
from aet.schema import OUTPUTS as KINDS

from ..made import loose_tensors
from .examples import EXAMPLES

DIM, ROWS = 6, 80


def example(kind):
    if kind not in EXAMPLES:
        pytest.fail(f"The output kind {kind!r} has no example: add one to EXAMPLES in tests/outputs/examples.py.")
    return EXAMPLES[kind]


def fitted(kind, settings=None):
    given = example(kind)
    torch.manual_seed(0)
    part = OUTPUTS[kind](given.targets, DIM)
    part.fit(given.frame(ROWS, 0), settings or {})
    part.build()
    return name_elastic(nn.ModuleDict({"output": part})).eval()


def given_to(kind, rows=16, seed=1, dtype=torch.float32):
    """What the output reads: summaries, or words' tokens with their marks."""
    generator = torch.Generator().manual_seed(seed)
    if OUTPUTS[kind].reads in ("summary", "last"):
        return torch.randn(rows, DIM, generator=generator, dtype=dtype)
    tokens = torch.randn(rows, MOST, DIM, generator=generator, dtype=dtype)
    lengths = torch.randint(1, 9, (rows, 1), generator=generator)
    real = (torch.arange(MOST) < lengths).to(dtype)[..., None]
    return torch.cat([tokens * real, real], -1)


def logits_and_target(kind, rows=16, seed=1, size=1.5):
    part = fitted(kind)["output"]
    generator = torch.Generator().manual_seed(seed)
    logits = size * torch.randn(rows, part.width, generator=generator)
    target = part.encode(example(kind).frame(rows, seed))
    return part, marked(part.by_word(logits)[0], target >= 0) if kind == "tags" else logits, target


def random_state(box, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(box).map(lambda _, t: torch.randn(t.shape, generator=generator, dtype=t.dtype))


def plain(part):
    """Whether its answers are told in terms of the logits alone."""
    return type(part).finished is Output.finished


every_kind = pytest.mark.parametrize("kind", list(OUTPUTS))


def test_the_schema_knows_the_registered_kinds():
    assert set(OUTPUTS) == set(KINDS)


@every_kind
def test_logits_have_the_width(kind):
    box = fitted(kind)
    assert OUTPUTS[kind].kind == kind
    assert box["output"](given_to(kind)).shape == (16, box["output"].width)
    assert box["output"](given_to(kind, 0)).shape == (0, box["output"].width)


@every_kind
def test_zero_state_is_the_source(kind):
    box = fitted(kind)
    expected = box["output"](given_to(kind))
    with applied(ElasticState.zeros(box)):
        assert torch.equal(box["output"](given_to(kind)), expected)


@every_kind
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_merged_is_applied(kind, dtype, tolerance):
    box = fitted(kind).to(dtype)
    state, x = random_state(box), given_to(kind, dtype=dtype)
    with applied(state):
        expected = box["output"](x)
    assert (expected - box["output"](x)).abs().max() > 0.1
    torch.testing.assert_close(merge(box, state)["output"](x), expected, rtol=0, atol=tolerance)


@every_kind
def test_each_row_may_have_its_own_state(kind):
    box = fitted(kind)
    states = [random_state(box, seed) for seed in range(3)]
    index, x = torch.arange(8) % 3, given_to(kind, 8)
    with applied(ElasticState.stack(states).rows(index)):
        together = box["output"](x)
    for row, which in enumerate(index.tolist()):
        with applied(states[which]):
            torch.testing.assert_close(together[row], box["output"](x)[row])


@every_kind
def test_no_target_makes_more_of_two_answers_than_they_are_apart(kind):
    part, one, target = logits_and_target(kind, rows=60)
    noise = 0.7 * torch.randn(one.shape, generator=torch.Generator().manual_seed(9))
    other = marked(part.by_word(one + noise)[0], target >= 0) if kind == "tags" else one + noise
    apart = part.apart(one, other)
    assert apart.shape == (60,)
    assert 0 <= float(apart.min()) <= float(apart.max()) <= 1
    assert float(apart.max()) > 0
    assert torch.equal(part.apart(one, one), torch.zeros(60))
    for seed in range(4):
        some = part.encode(example(kind).frame(60, seed)) if kind != "tags" else target
        difference = (part.scores(one, some) - part.scores(other, some)).abs()
        assert (difference <= apart + 1e-5).all()


@every_kind
def test_settings_and_weights_make_it_again(kind):
    box = fitted(kind)
    part, logits, target = logits_and_target(kind)
    part.calibrate(logits, target)
    again = OUTPUTS[kind](example(kind).targets, DIM)
    again.load_settings(json.loads(json.dumps(part.settings())))
    again.build()
    again.load_state_dict(part.state_dict())
    again.eval()
    assert torch.equal(again(given_to(kind)), box["output"](given_to(kind)))
    pd.testing.assert_frame_equal(again.answers(logits, proba=True), part.answers(logits, proba=True))
    encoded = [output.encode(example(kind).frame(5, 3)) for output in (again, part)]
    torch.testing.assert_close(*encoded, rtol=0, atol=0, equal_nan=True)


@every_kind
def test_answers_have_a_prediction_and_a_confidence_for_each_row(kind):
    part, logits, _ = logits_and_target(kind)
    for proba in (False, True):
        answers = part.answers(logits, proba)
        columns = part.columns(logits, pd.DataFrame(index=range(len(logits))), proba) if plain(part) else {}
        for name, cells in columns.items():
            assert list(columns) == list(answers)
            assert pd.Series(cells, dtype=object).tolist() == answers[name].astype(object).tolist()
        assert list(answers.columns[:2]) == ["prediction", "confidence"]
        assert len(answers) == 16
        assert answers["prediction"].notna().all()
        assert answers["confidence"].between(0, 1).all()
        alone = part.answers(logits[3:4], proba)
        pd.testing.assert_frame_equal(alone, answers.iloc[3:4].reset_index(drop=True), rtol=1e-6, atol=1e-6)
        none = part.answers(logits[:0], proba)
        assert len(none) == 0
        assert none.dtypes.equals(answers.dtypes)


@every_kind
def test_figures_are_in_their_ranges_even_for_extreme_logits(kind):
    for size in (0.0, 1.0, 1e4):
        part, logits, target = logits_and_target(kind, size=size)
        for figure in (part.scores(logits, target), part.uncertainty(logits)):
            assert figure.shape == (16,)
            assert ((figure >= 0) & (figure <= 1.00001)).all()
        losses = part.losses(logits, target)
        assert losses.shape == (16,)
        assert torch.isfinite(losses).all()
        assert (losses >= 0).all()
        assert part.answers(logits)["confidence"].between(0, 1).all()
        metrics = part.metrics(logits, target)
        assert part.metric in metrics
        assert all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())
        assert part.metrics(logits[:1], target[:1]).keys() == metrics.keys()


@every_kind
def test_the_mean_score_is_a_metric_under_its_name(kind):
    part, logits, target = logits_and_target(kind)
    expected = float(part.scores(logits, target).mean())
    assert part.metrics(logits, target)[part.score_name] == pytest.approx(expected)


@every_kind
def test_hits_are_what_the_confidence_speaks_of(kind):
    """Rows drawn as the model believes them: then confidence is how often it is right."""
    part, logits, target = logits_and_target(kind, rows=4000, size=2.0)
    if not hasattr(part, "probabilities"):
        pytest.skip("its confidence is no sum of probabilities: an interval's width, or fitted to scores")
    p = part.probabilities(logits)
    draws = torch.multinomial(p.flatten(0, -2), 1).view(p.shape[:-1]) if kind != "multilabel" else torch.bernoulli(p)
    target = draws.where(target >= 0, -1) if kind == "tags" else draws
    hits, confidence = part.hits(logits, target), part.answers(logits)["confidence"].to_numpy()
    assert hits.shape == (4000,)
    for sure in (confidence < np.median(confidence), confidence >= np.median(confidence)):
        assert float(hits.numpy()[sure].mean()) == pytest.approx(confidence[sure].mean(), abs=0.04)


@every_kind
def test_a_model_on_a_card_answers_logits_on_the_cpu(kind):
    """`Model.logits` gives logits on the CPU wherever the weights are; a pretended card needs none."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    part = fitted(kind)["output"]
    with FakeTensorMode(allow_non_fake_inputs=True):
        for name, buffer in list(part.named_buffers()):
            setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda"))
        assert part.uncertainty(torch.empty(5, part.width)).device.type == "cpu"


@every_kind
def test_a_weight_is_the_row_given_so_many_times(kind):
    part, logits, target = logits_and_target(kind, rows=5)
    weight = torch.tensor([1.0, 2.0, 0.0, 3.0, 1.0])
    times = torch.repeat_interleave(torch.arange(5), weight.long())
    weighted = part.loss(logits, target, weight)
    torch.testing.assert_close(weighted, part.loss(logits[times], target[times]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(part.loss(logits, target, torch.full((5,), 7.0)), part.loss(logits, target))
    assert part.loss(logits, target, torch.zeros(5)) == 0


@every_kind
def test_weights_are_felt_in_the_gradient(kind):
    part, logits, target = logits_and_target(kind, rows=3)
    logits.requires_grad_()
    part.loss(logits, target, torch.tensor([1.0, 0.0, 1.0])).backward()
    assert logits.grad[1].abs().max() == 0
    assert logits.grad[0].abs().max() > 0


@every_kind
def test_gradients_in_double_precision(kind):
    part, logits, target = logits_and_target(kind, rows=4)
    part.double()
    target = target.double() if target.is_floating_point() else target
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: part.losses(z, target), logits)


@every_kind
def test_the_loss_falls_where_the_target_is(kind):
    part, logits, target = logits_and_target(kind, rows=32)
    moved = logits.clone().requires_grad_()
    optimiser = torch.optim.Adam([moved], lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        part.loss(moved, target).backward()
        optimiser.step()
    # What is written step by step is found by a search, which no gradient passes: the truth becomes likelier.
    right = part.belief if part.reads == "steps" else part.scores
    assert right(moved, target).mean() > right(logits, target).mean()
    assert right(moved, target).mean() > example(kind).reach


@every_kind
def test_calibration_takes_rows_of_any_number_and_keeps_what_is_right(kind):
    part, logits, target = logits_and_target(kind)
    before = part.scores(logits, target)
    for rows in (1, 2, 16):
        part.calibrate(logits[:rows], target[:rows])
        assert torch.equal(part.scores(logits, target), before)
        assert part.answers(logits)["confidence"].between(0, 1).all()


@every_kind
def test_a_mixture_of_the_same_answers_is_that_answer(kind):
    part, logits, target = logits_and_target(kind)
    part.calibrate(logits, target)
    own = OUTPUTS[kind](example(kind).targets, DIM)
    own.fit(example(kind).frame(ROWS, 0), {})
    heard = own.translated(part, logits)
    said = [output.answers(z, proba=True) for output, z in ((part, logits), (own, heard))]
    pooled = own.answers(own.pooled(torch.stack([heard, heard, heard])), proba=True)
    pd.testing.assert_frame_equal(said[1], said[0], rtol=1e-4, atol=1e-5)
    if kind in ("label", "multilabel", "tags", "rank"):
        pd.testing.assert_frame_equal(pooled, said[0], rtol=1e-4, atol=1e-5)
    for column in set(pooled) - {"confidence", "lower", "upper"}:
        if "price_" not in column:  # the interval of a mixture is even about its mean
            pd.testing.assert_series_equal(pooled[column], said[0][column], rtol=1e-4, atol=1e-5)


@every_kind
def test_a_mixture_is_less_sure_than_members_that_disagree(kind):
    part, logits, _ = logits_and_target(kind, rows=200, size=3.0)
    mixture = part.pooled(torch.stack([logits, logits.roll(1, 0)]))
    members = (part.uncertainty(logits) + part.uncertainty(logits.roll(1, 0))) / 2
    assert part.uncertainty(mixture).mean() > members.mean() - 1e-6


@every_kind
def test_a_teacher_is_as_far_as_it_differs(kind):
    part, logits, _ = logits_and_target(kind)
    other = logits.roll(1, 0).clone().requires_grad_()
    for temperature in (1.0, 3.0):
        assert part.distance(logits, logits, temperature).abs().max() < 1e-5
        apart = part.distance(other, logits, temperature)
        assert apart.shape == (16,)
        assert (apart > 0).all()
    (slope,) = torch.autograd.grad(apart.sum(), other)
    nearer = part.distance(other - 0.01 * slope, logits, temperature)
    assert nearer.sum() < apart.sum()


@every_kind
def test_answers_of_another_kind_are_not_translated(kind):
    other = "number" if kind != "number" else "label"
    with pytest.raises(ConfigError, match="same kind of output"):
        fitted(kind)["output"].translated(fitted(other)["output"], torch.zeros(2, 3))


@every_kind
def test_wrong_answers_are_feedback_errors(kind):
    part = fitted(kind)["output"]
    for frame in example(kind).wrong:
        with pytest.raises(FeedbackError):
            part.encode(frame)


@every_kind
def test_nothing_to_learn_is_a_data_error_with_the_mend(kind):
    given = example(kind)
    with pytest.raises(DataError, match=r"expected (at least two|both|numbers that differ).*(Add|add) rows"):
        OUTPUTS[kind](given.targets, DIM).fit(given.dull, {})


@every_kind
def test_unknown_settings_are_errors(kind):
    with pytest.raises(ConfigError, match=r"output\.wrong is unknown"):
        fitted(kind, {"wrong": 1})


@every_kind
def test_targets_are_left_as_they_were(kind):
    frame = example(kind).frame(ROWS, 0)
    before = frame.copy(deep=True)
    part = OUTPUTS[kind](example(kind).targets, DIM)
    part.fit(frame, {})
    part.encode(frame)
    pd.testing.assert_frame_equal(frame, before)


@every_kind
def test_tensors_move_with_the_module(kind):
    assert not loose_tensors(fitted(kind))


@every_kind
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_figures_are_the_same_on_a_card(kind):
    part, logits, target = logits_and_target(kind)
    expected, answers = part.metrics(logits, target), part.answers(logits, proba=True)
    part.to("cuda")
    logits, target = logits.to("cuda"), target.to("cuda")
    assert part.metrics(logits, target) == pytest.approx(expected, rel=1e-4)
    pd.testing.assert_frame_equal(part.answers(logits, proba=True), answers, rtol=1e-4)
    part.calibrate(logits, target)
    assert np.isfinite(float(part.loss(logits, target)))

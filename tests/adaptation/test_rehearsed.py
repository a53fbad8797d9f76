"""Evidence without labels, and what rehearsals make of it."""

import math
from dataclasses import replace

import pytest
import torch

import aet
from aet.adaptation.comparison import FIGURES, figures, information, repeats
from aet.adaptation.methods.mixture import Mixture
from aet.adaptation.rehearse import CHUNK, ROWS, STRETCHES, aged, answered, drawn, probabilities, rehearse
from aet.adaptation.rehearsed import K, Rehearsals, Verdict
from aet.attention.state import applied
from aet.report.sections import serving
from tests.adaptation.models import inputs, three
from tests.made import quick


@pytest.fixture(scope="module")
def rehearsed():
    config = quick(epochs=12, dim=16, dropout=0.0)
    config["train"]["rehearsals"] = 24
    return aet.train(three(600), target="y", config=config)


def made(rule, worlds=20, each=5, seed=0):
    """Stretches with two figures; what a proposal gains in them by a rule of the first."""
    x = torch.randn(worlds * each, 2, generator=torch.Generator().manual_seed(seed))
    world = torch.arange(worlds).repeat_interleave(each)
    return {"figures": x, "gain": rule(x[:, 0]), "world": world, "usual": torch.tensor(0.9)}


def test_figures_by_hand():
    p = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    q = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    found = dict(zip(FIGURES, figures(p, q, 0.9, torch.tensor([0.5, 0.5])).tolist(), strict=True))
    assert found["confidence gained"] == pytest.approx((0.9 + 0.8 + 0.9) / 3 - (0.8 + 0.6 + 0.7) / 3)
    assert found["disagreement"] == pytest.approx(1 / 3)
    assert found["surer where they disagree"] == pytest.approx(((0.8 - 0.2) - (0.6 - 0.4)) / 2 / 3)
    assert found["confidence lost by the source"] == pytest.approx(0.9 - 0.7)
    assert found["repeats of the source"] == pytest.approx(1 / 2 - (4 + 1) / 9)
    assert found["mix lost"] == pytest.approx(0.5 * (2 * abs(1.7 / 3 - 0.5)))
    assert len(found) == len(FIGURES)


def test_information_is_none_for_equal_answers_and_all_for_sure_ones():
    assert information(torch.full((5, 3), 1 / 3)).item() == pytest.approx(0, abs=1e-9)
    assert information(torch.eye(4).double()).item() == pytest.approx(1)
    assert repeats(torch.zeros(9, dtype=torch.long), 2).item() == 0
    assert repeats(torch.tensor([0, 0, 0, 1, 1, 1]), 2).item() == pytest.approx(4 / 5 - 1 / 2)


def test_trust_follows_what_was_rehearsed():
    known = Rehearsals(made(lambda x: 0.3 * x))
    assert known.limit is not None
    good, bad = (known.verdict(torch.tensor([x, 0.0])) for x in (1.2, -1.2))
    assert good.trusted
    assert good.won == good.of == K
    assert not bad.trusted
    assert "won 16" in str(good)
    assert "not trusted" in str(bad)


def test_gain_that_no_figure_tells_from_harm_is_never_trusted():
    generator = torch.Generator().manual_seed(3)
    known = Rehearsals(made(lambda x: 0.2 * torch.randn(len(x), generator=generator)))
    assert known.limit is None
    assert not any(known.verdict(torch.tensor([x, 0.0])).trusted for x in (-2.0, 0.0, 2.0))


def test_few_worlds_speak_for_nothing():
    assert Rehearsals(made(lambda x: 0.3 * x, worlds=19)).limit is None
    assert Rehearsals(made(lambda x: 0.3 * x, worlds=20, each=1)).limit is not None


def test_a_world_is_judged_by_the_others_alone():
    """A figure that only says which world it is looks perfect, unless the own world is left out."""
    tensors = made(lambda x: x, worlds=300, each=4)
    signs = torch.randint(0, 2, (300,), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    tensors |= {"figures": tensors["world"][:, None].float(), "gain": 0.2 * signs[tensors["world"]]}
    assert Rehearsals(tensors).limit is None


def test_worlds_are_rows_of_the_model_with_a_mix_and_a_drift(rehearsed):
    valid = rehearsed.encode(three(90, 5), target=True)
    generator = torch.Generator().manual_seed(0)
    mixes = []
    for _ in range(12):
        world = drawn(valid, 3, generator)
        assert len(world) == ROWS
        mixes.append(float(torch.bincount(world.target, minlength=3).max()) / ROWS)
        worn = aged(rehearsed, world, generator)
        assert worn.values["number0"].shape == world.values["number0"].shape
        assert torch.equal(worn.target, world.target)
    assert min(mixes) < 0.5
    assert max(mixes) > 0.8


def test_a_world_is_of_one_stretch_of_the_rows(rehearsed):
    """Rows that were taken down together stay together, in every mix."""
    valid = rehearsed.encode(three(512, 5), target=True)
    shape = valid.values["number0"].shape
    valid = replace(valid, values={"number0": torch.arange(512.0)[:, None, None].expand(shape)})
    generator = torch.Generator().manual_seed(0)
    places = [drawn(valid, 3, generator).values["number0"][:, 0] for _ in range(80)]
    spans = torch.tensor([float(place.max() - place.min()) for place in places])
    for part in STRETCHES:
        assert ((spans < 512 / part) & (spans > 0.9 * 512 / part)).any()
    assert {int(row) // 64 for place in places for row in place} == set(range(8))


def test_what_training_keeps(rehearsed, tmp_path):
    kept = rehearsed.statistics.rehearsals
    assert kept["figures"].shape == (24 * 3, 3, len(FIGURES))
    assert kept["figures"].isfinite().all()
    assert kept["gain"].abs().max() <= 1
    again = rehearse(rehearsed, rehearsed.encode(three(90, 5), target=True))
    twice = rehearse(rehearsed, rehearsed.encode(three(90, 5), target=True))
    assert all(torch.equal(again[name], twice[name]) for name in again)
    rehearsed.save(tmp_path)
    loaded = aet.load(tmp_path).statistics.rehearsals
    assert all(torch.equal(loaded[name], kept[name]) for name in kept)


@pytest.mark.parametrize("seed", range(3))
def test_worlds_side_by_side_are_answered_as_one_by_one(rehearsed, seed):
    valid, sizes = rehearsed.encode(three(90, 5), target=True), []
    generator = torch.Generator().manual_seed(seed)
    worlds = [aged(rehearsed, drawn(valid, 3, generator), generator) for _ in range(3)]
    for world, (p, q, moved) in zip(worlds, answered(rehearsed, rehearsed.output, worlds), strict=True):
        method, far = Mixture(rehearsed), []
        for index in torch.arange(ROWS).split(CHUNK):
            chunk = world[index]
            proposed = rehearsed.output.probabilities(method.answer(chunk))
            if index[0]:
                plain = rehearsed.output.probabilities(rehearsed.logits(chunk))
                torch.testing.assert_close(p[index], plain, rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(q[index], proposed, rtol=1e-4, atol=1e-5)
                far.append(method.moved)
            method.told(chunk, proposed[method.places(CHUNK)])
        sizes.append(method.state.size())
        assert moved == pytest.approx(far)
    assert max(sizes) > 0.1


def test_equal_rows_pass_once(rehearsed, monkeypatch):
    valid, passed, logits = rehearsed.encode(three(60, 5), target=True), [], type(rehearsed).logits

    def counted(self, batch, rows=None):
        passed.append(len(batch))
        return logits(self, batch, rows)

    monkeypatch.setattr(type(rehearsed), "logits", counted)
    rehearse(rehearsed, valid, rehearsed.logits(valid), worlds=20)
    assert sum(passed[1:]) < 20 * 300


def test_none_where_there_is_nothing_to_rehearse_with(rehearsed, regression, model):
    assert rehearse(rehearsed, rehearsed.encode(three(20), target=True)) is None
    assert rehearse(rehearsed, rehearsed.encode(three(90), target=True), worlds=0) is None
    assert regression.statistics.rehearsals is None
    assert model.statistics.rehearsals is None, "it was trained with rehearsals: 0"


def trust_all(monkeypatch):
    """Rehearsals that speak for every proposal."""
    monkeypatch.setattr(Rehearsals, "calibrated", lambda self: (1.0, 0.0))
    monkeypatch.setattr(Rehearsals, "verdict", lambda self, figures: Verdict(True, 5.0, 16, 16))


def served_by(stream, frame):
    pieces = [stream.predict(inputs(frame.iloc[i : i + 64])) for i in range(0, len(frame), 64)]
    return math.fsum(float((piece["served_by"] == "proposal").mean()) for piece in pieces) / len(pieces)


def test_a_stream_serves_what_rehearsals_trust(rehearsed, monkeypatch):
    worn = three(768, 7, shift=1.0, gain=0.7)
    stream = rehearsed.stream()
    share = served_by(stream, worn)
    assert share == served_by(rehearsed.stream(), worn)
    assert served_by(rehearsed.stream(unlabelled="never"), worn) == 0
    assert served_by(rehearsed.stream(unlabelled="always"), worn) == 1
    assert served_by(rehearsed.stream(guard="never", unlabelled="always"), worn) == 0
    trust_all(monkeypatch)
    trusting = rehearsed.stream()
    assert served_by(trusting, worn) > 0.5
    assert trusting.serving
    assert not trusting.guard.serving
    assert trusting.served_state is trusting.method.mixture.state


def test_labels_that_train_do_not_end_the_trust_before_the_guard_has_spoken(rehearsed, monkeypatch):
    """The proposal moves on with its labels; what rehearsals trust is served until it has earned its place."""
    trust_all(monkeypatch)
    stream, worn = rehearsed.stream(), three(512, 7, shift=1.0, gain=0.7)
    served_by(stream, worn)
    ids = stream.ask(6)
    stream.feedback(ids, worn["y"].iloc[ids].tolist())
    assert stream.method.taught
    assert stream.served_state is stream.method.mixture.state is not stream.state
    answers = stream.predict(inputs(worn.head(32)))
    with applied(stream.served_state):
        expected = rehearsed.output.answers(rehearsed.logits(rehearsed.encode(worn.head(32))))
    assert answers["prediction"].tolist() == expected["prediction"].tolist()
    assert stream.trace.served["proposal"] > 0


def test_labels_that_speak_against_it_end_the_trust(rehearsed, monkeypatch):
    trust_all(monkeypatch)
    stream = rehearsed.stream()
    served_by(stream, three(512, 7))
    assert stream.serving
    stream.method.labels, stream.method.losses = 8, torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert not stream.serving
    stream.method.labels = 7
    assert stream.serving
    stream.method.labels = 8
    stream.predict(inputs(three(8, 8)))
    assert stream.trace.events[-1]["kind"] == "held"


def test_who_answered_is_written_down_as_it_was(rehearsed, monkeypatch):
    trust_all(monkeypatch)
    stream = rehearsed.stream()
    served_by(stream, three(512, 7))
    record = stream.record()
    spans = record["stream"]["spans"]
    assert [span["who"] for span in spans] == ["source", "proposal"]
    assert spans[1]["row"] == 512 - record["stream"]["served"]["proposal"]
    assert [span[2] for span in serving(record)] == ["source", "proposal"]
    event = next(e for e in stream.trace.events if e["kind"] == "served")
    assert event["text"].startswith("trusted without labels, the inputs' moments: of the 16")


def test_undo_takes_a_trusted_state_back_too(rehearsed, monkeypatch):
    trust_all(monkeypatch)
    stream, worn = rehearsed.stream(), three(512, 7, shift=2.0)
    served_by(stream, worn)
    before = [change["norm"] for change in stream.trace.changes]
    stream.undo(2)
    assert stream.served_state is None, "trust begins anew"
    assert stream.state.size() == pytest.approx(before[-3])
    assert stream.method.mixture.state is stream.state
    stream.predict(inputs(worn.head(3)))
    assert stream.state.size() == pytest.approx(before[-3]), "until the next step on moments"


def test_a_proposal_that_lost_what_it_had_earned_is_not_always_served(rehearsed):
    stream = rehearsed.stream(unlabelled="always")
    for _ in range(40):
        stream.guard.update(1.0, 1.0)
    assert stream.guard.serving
    while stream.guard.serving:
        stream.guard.update(-1.0, 1.0)
    assert stream.guard.gain > 0
    assert not stream.serving


def test_always_is_always_until_labels_speak_against_it(rehearsed):
    stream = rehearsed.stream(unlabelled="always")
    assert stream.served_state is stream.state
    for _ in range(8):
        stream.guard.update(-1.0, 1.0)
    assert stream.served_state is None


def test_unknown_mode(rehearsed):
    with pytest.raises(aet.errors.ConfigError, match="'cautious'"):
        rehearsed.stream(unlabelled="cautios")


def test_worlds_with_missing_cells_pass_equal_rows_once(rehearsed, monkeypatch):
    frame = three(40, 3)
    frame.loc[::2, "a"] = None
    batch = rehearsed.encode(frame, target=True)
    passed, logits = [], type(rehearsed).logits
    monkeypatch.setattr(
        type(rehearsed), "logits", lambda self, rows, *more: (passed.append(len(rows)), logits(self, rows, *more))[1]
    )
    found = probabilities(rehearsed, rehearsed.output, [batch, batch])
    assert passed == [40]
    assert torch.equal(found[0], found[1])
    assert torch.allclose(found[0], rehearsed.output.probabilities(logits(rehearsed, batch)), atol=1e-6)

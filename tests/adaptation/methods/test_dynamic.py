"""The state that the model's own network emits: from the stream, in any pieces, never from one row."""

import pandas as pd
import pytest
import torch

import aet
from aet.adaptation.methods.dynamic import Dynamic
from aet.attention.state import ElasticState, applied, merge
from aet.errors import ConfigError
from tests.adaptation.models import SPECIAL, batch_of, frame_of
from tests.made import quick, sentences


def test_needs_a_model_trained_for_it(model):
    with pytest.raises(ConfigError, match=r"attention.*dynamic.*'align' or 'restandardise'"):
        Dynamic(model)
    with pytest.raises(ConfigError, match="was trained for it"):
        model.stream(adapt="dynamic")


def test_the_formula_by_hand(dynamic_model):
    model, network = dynamic_model, dynamic_model.trunk.dynamic
    method, batches = Dynamic(model, half_life=64), [batch_of(model, 48, seed) for seed in (1, 2)]
    for batch in batches:
        state = method.propose(batch)
    kept = 0.5 ** (48 / 64)
    window = {name: torch.cat([b.values[name] for b in batches]) for name in batches[0].values}
    inputs = {
        f"inputs.number0.{n}": 95 / 103 * t for n, t in model.inputs["number0"].realigned(window["number0"]).items()
    }
    sums = []
    for number, batch in enumerate(batches):
        first = {
            f"inputs.number0.{n}": 47 / 55 * t
            for n, t in model.inputs["number0"].realigned(batches[0].values["number0"]).items()
        }
        with applied(ElasticState(inputs if number else first)), torch.no_grad():
            sums.append(network.rows(*model.tokens(batch)).sum(0))
    with torch.no_grad():
        rows = 48 * kept + 48
        expected = model.trunk.shaped(network(network.statistics((kept * sums[0] + sums[1]) / rows), rows))
    for name, t in {**expected, **inputs}.items():
        torch.testing.assert_close(state[name], t, rtol=1e-4, atol=1e-5)


def test_one_row_alone_is_answered_by_the_source(dynamic_model):
    method = Dynamic(dynamic_model)
    one = batch_of(dynamic_model, 1)
    assert not any(t.any() for t in method.propose(one).values())
    assert torch.equal(Dynamic(dynamic_model)(one), dynamic_model.logits(one))
    assert any(t.any() for t in method.propose(one).values())  # the rows of a stream add up


def test_small_batches_of_a_stream_come_to_what_a_large_one_says(dynamic_model):
    rows = batch_of(dynamic_model, 200)
    whole, piecewise = (Dynamic(dynamic_model, half_life=10**9, window=200, sample=200) for _ in range(2))
    expected = whole.propose(rows)
    for index in torch.arange(200).split(5):
        state = piecewise.propose(rows[index])
    apart = ElasticState({n: t - expected[n] for n, t in state.items()}).size()
    assert apart < 0.15 * expected.size()


def test_of_a_large_batch_a_spread_sample_is_read(dynamic_model):
    rows, seen = batch_of(dynamic_model, 90), []
    method = Dynamic(dynamic_model, sample=30)
    tokens, method.tokens = method.tokens, lambda batch, inputs: seen.append(batch) or tokens(batch, inputs)
    method.propose(rows)
    assert len(seen[0]) == 90  # made whole, for the answers
    assert method.rows == 30
    expected = method.network.rows(*tokens(rows[torch.arange(0, 90, 3)], ElasticState({})))
    torch.testing.assert_close(method.read(*tokens(rows, ElasticState({}))), method.network.tamed(expected))
    method.propose(rows)  # nobody asked for answers
    assert torch.equal(seen[1].values["number0"], rows[torch.arange(0, 90, 3)].values["number0"])
    assert method.rows == 30 + 30 * 0.5 ** (30 / 256)


def test_the_tokens_of_a_batch_are_made_once(dynamic_model):
    batches = [batch_of(dynamic_model, 100, seed) for seed in (1, 2)]
    method, again = Dynamic(dynamic_model), Dynamic(dynamic_model)
    made, part = [], dynamic_model.inputs["number0"]
    hook = part.register_forward_hook(lambda *_: made.append(1))
    for batch in batches:
        logits, before = method(batch), len(made)
        again.asked = True
        again.propose(batch)
        with applied(again.state):
            assert torch.equal(logits, dynamic_model.logits(batch))
        assert before == 1
        made.clear()
    hook.remove()
    method.propose(batches[0])
    assert method.made
    with applied(method.state):
        assert torch.equal(method.answer(batches[1]), dynamic_model.logits(batches[1]))  # other rows
    method.propose(batches[0])
    assert method.made
    method.back_to(ElasticState.zeros(dynamic_model))
    assert torch.equal(method.answer(batches[0]), dynamic_model.logits(batches[0]))  # another state


def test_a_model_in_training_answers_in_evaluation_mode(dynamic_model):
    batch = batch_of(dynamic_model, 40)
    expected = Dynamic(dynamic_model)(batch)
    dynamic_model.train()
    assert torch.equal(Dynamic(dynamic_model)(batch), expected)
    assert dynamic_model.training
    dynamic_model.eval()


def test_a_saved_memory_goes_on_with_the_same_bits(dynamic_model):
    batches = [batch_of(dynamic_model, 90, seed) for seed in (1, 2)]
    method, copy = Dynamic(dynamic_model), Dynamic(dynamic_model)
    method.propose(batches[0])  # not answered: of the next a sample is read
    copy.load_memory(method.memory())
    copy.state = method.state
    assert method.propose(batches[1]).equal(copy.propose(batches[1]))
    assert method.made is None
    assert method.answer(batches[1]).equal(copy.answer(batches[1]))
    assert method.propose(batches[0]).equal(copy.propose(batches[0]))
    assert method.made
    assert len(method.recent["number0"]) == 128


def test_every_piece_of_a_large_table_is_answered_under_one_state(dynamic_model):
    rows = batch_of(dynamic_model, 90)
    state = Dynamic(dynamic_model).propose(rows)
    with applied(state):
        torch.testing.assert_close(dynamic_model.logits(rows, rows=7), dynamic_model.logits(rows))
    torch.testing.assert_close(
        merge(dynamic_model, state).logits(rows), Dynamic(dynamic_model)(rows), atol=1e-4, rtol=0
    )


def test_plain_answers_are_the_source_s(dynamic_model):
    frame = frame_of(dynamic_model, 40)
    once = dynamic_model.predict(frame)
    Dynamic(dynamic_model)(batch_of(dynamic_model, 64))
    pd.testing.assert_frame_equal(dynamic_model.predict(frame), once)
    assert dynamic_model.predict(frame.head(1))["prediction"][0] == once["prediction"][0]


def test_a_stream_serves_undoes_and_reports(dynamic_model, tmp_path):
    stream = dynamic_model.stream(adapt="dynamic", guard="always")
    frame = frame_of(dynamic_model, 80)
    answers = stream.predict(frame.drop(columns="y"))
    assert set(answers["served_by"]) == {"proposal"}
    assert stream.state.size() > 0
    assert stream.report(tmp_path / "report.html").is_file()
    stream.undo()
    assert stream.state.size() == 0


def test_a_model_without_input_dials():
    model = aet.train(sentences(), target="y", config=quick(epochs=2, **SPECIAL["dynamic"]))
    method = Dynamic(model)
    batch = model.encode(sentences(40, 3))
    assert method(batch).shape == (40, 2)
    assert method.state.size() > 0
    assert set(method.memory()) == {"total", "rows", "asked"}

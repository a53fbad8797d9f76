"""A model that writes texts, from its table to its stream: train, predict, evaluate, ask, feedback, refuse, save."""

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation.replay import replay
from aet.attention.state import ElasticState, applied, merge
from aet.errors import ConfigError, DataError, FeedbackError, SchemaError
from tests.adaptation.models import answering, changed
from tests.made import quick

NAMES = "abcdefgh"


def letters(rows=300, seed=0, turned=False):
    """Letters to be written again, from the last to the first where `turned`."""
    rng = np.random.default_rng(seed)
    made = [rng.choice(list(NAMES), rng.integers(2, 6)).tolist() for _ in range(rows)]
    said = [row[::-1] if turned else row for row in made]
    return pd.DataFrame({"text": [" ".join(row) for row in made], "said": [" ".join(row) for row in said]})


def settings(epochs=2, **output):
    config = quick(epochs, dim=16, depth=1, dropout=0.0, lr=1e-2, drift=0.0)
    return {**config, "output": {"vocabulary": 280, "depth": 1, **output}}


def trained(frame, config, **more):
    return aet.train(frame, target="said", output="sequence", kinds={"text": "text"}, config=config, **more)


@pytest.fixture(scope="module")
def writer():
    return trained(letters(), settings(10))


def encoded(model, frame, target=False):
    return model.encode(model.check(frame, need_target=target).frame, target)


def test_it_learns_to_copy(writer):
    figures = writer.evaluate(letters(60, 1))
    assert figures["exact"] > 0.75
    assert figures["chrf"] > 0.9
    assert figures["token_accuracy"] > 0.9
    assert figures["loss"] < 0.5
    answers = writer.predict([{"text": "h g f"}, {"text": 3.5j}])
    assert answers["prediction"][0] == "h g f"
    assert answers["prediction"][1] is None
    assert "expected a text" in answers["problem"][1]


def test_it_learns_to_turn_around():
    config = settings(8) | {"model": {"dim": 32, "depth": 2, "heads": 4, "dropout": 0.0}}
    config["train"]["lr"] = 4e-3
    model = trained(letters(900, turned=True), config)
    assert model.evaluate(letters(100, 1, turned=True))["exact"] > 0.9


def test_a_text_is_a_class_unless_it_is_said():
    with pytest.raises(DataError, match="say output="):
        aet.train(letters(), target="said", kinds={"text": "text"}, config=settings())
    with pytest.raises(DataError, match="expected at least two"):
        trained(letters(20).assign(said="a"), settings())
    with pytest.raises(SchemaError, match="has 2 targets"):
        aet.train(letters().assign(more="x"), target=["said", "more"], output="sequence", config=settings())


def test_a_saved_writer_says_the_same(writer, tmp_path):
    rows = letters(10, 3)
    again = aet.load(writer.save(tmp_path / "run"))
    assert again.predict(rows).to_dict("list") == writer.predict(rows).to_dict("list")


def test_states_of_a_row_each_and_merged_ones_are_the_applied_ones(writer):
    batch, zero = encoded(writer, letters(6, 4)), ElasticState.zeros(writer)
    assert {name for name in zero if name.startswith("output.decoder.blocks.0.own.")}, "the decoder's dials are named"
    assert "output.pointer.gate" in zero
    states = [zero.map(lambda _, t, k=k: 0.1 * torch.sin(torch.arange(t.numel()) + k).view(t.shape)) for k in range(6)]
    source = writer.logits(batch)
    with applied(zero):
        assert torch.equal(writer.logits(batch), source)
    with applied(ElasticState.stack(states)):
        each = writer.logits(batch)
    assert (each - source).abs().max() > 0.05
    for number, state in enumerate(states):
        with applied(state):
            own = writer.logits(batch)
        torch.testing.assert_close(each[number], own[number], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(merge(writer, state).logits(batch), own, rtol=1e-3, atol=1e-3)


def test_beam_search_under_a_state_of_a_row_each(writer):
    batch, zero = encoded(writer, letters(4, 4)), ElasticState.zeros(writer)
    generator = torch.Generator().manual_seed(0)
    states = [zero.map(lambda _, t: 0.3 * torch.randn(t.shape, generator=generator)) for _ in range(4)]
    chosen = writer.output.chosen
    writer.output.chosen = chosen.model_copy(update={"beam": 3})
    try:
        with applied(ElasticState.stack(states)):
            each = writer.logits(batch)
        for number, state in enumerate(states):
            with applied(state):
                torch.testing.assert_close(writer.logits(batch)[number], each[number], rtol=1e-3, atol=1e-3)
    finally:
        writer.output.chosen = chosen


@pytest.mark.parametrize(("adapt", "guard", "least"), [("auto", "earned", 0.0), ("feedback", "always", 0.02)])
def test_late_texts_teach_a_stream(writer, tmp_path, adapt, guard, least):
    """Another house style: a mark behind every text."""
    rows = letters(48, 5)
    rows["said"] += " !"
    stream = writer.stream(adapt=adapt, guard=guard)
    stream.predict(rows[["text"]])
    ids = stream.ask(24)
    stream.feedback(ids, [rows["said"][i] for i in ids])
    batch = encoded(writer, rows, target=True)
    learned, known = (
        writer.output.belief(z, batch.target) for z in (stream.method.answer(batch), writer.logits(batch))
    )
    assert (learned - known).mean() >= least, "the truths became likelier"
    assert stream.estimate()["value"].dropna().between(0, 1).all()
    saved = aet.adaptation.stream.Stream.load(writer, stream.save(tmp_path / "stream", rows=True))
    assert all(torch.equal(saved.state[name], t) for name, t in stream.state.items())
    assert stream.report(tmp_path / "report.html").stat().st_size > 10_000
    stream.undo()
    assert stream.state.equal(ElasticState.zeros(writer))


def test_wrong_answers_change_nothing(writer):
    rows, stream = letters(8, 7), writer.stream()
    stream.predict(rows[["text"]])
    with pytest.raises(FeedbackError, match="is a text"):
        stream.feedback([0, 1], [rows["said"][0], None])
    with pytest.raises(FeedbackError, match="Shorten it"):
        stream.feedback([0], ["a " * 300])
    assert stream.labels == 0


def test_a_replay_scores_texts(writer):
    record = replay(writer, [("late", letters(96, 8))], labels=32, delay=0, adapt="source").record
    assert record["summary"]["source"] > 0.8
    assert record["summary"]["unknown"] == 0


def test_methods_that_need_classes_refuse_and_the_others_answer(writer):
    batch = encoded(writer, letters(6, 9))
    assert len(batch) == 6
    works = answering(writer, batch)
    assert {"source", "auto", "feedback", "align"} <= works
    assert not works & {"tent", "prior", "t3a", "local_mix"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"members": 4}}, "model.members=1"),
        ({"model": {"wide": 4}}, "model.wide=0"),
        ({"train": {"switches": {"mixup": {}}}}, "word by word"),
        ({"train": {"switches": {"cutmix": {}}}}, "word by word"),
        ({"train": {"switches": {"label_smoothing": {}}}}, "expected the output 'label'"),
        ({"columns": {"keep": 1}}, "columns.keep"),
        ({"inputs": {"text": {"vocabulary": 300}}}, "Set output.vocabulary"),
    ],
)
def test_what_has_no_meaning_for_texts_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        trained(letters(20).assign(n=1.5), changed(settings(1), changes))


def test_switches_that_have_a_meaning_train():
    on = {"r_drop": {}, "fgm": {}, "ema": {}}
    config = settings(1)
    config["model"]["dropout"], config["train"]["switches"], config["train"]["keep_rows"] = 0.1, on, 20
    model = trained(letters(40), config)
    assert all(record["acted"] for record in model.report["switches"])
    updated = model.update(letters(40, 10), config={"train": {"epochs": 1}})
    assert updated.model.evaluate(letters(20, 11))["rows"] == 20


def test_numbers_alone_may_be_told_in_words():
    """No text to copy from, and `model.wide` steps aside by itself."""
    rows = pd.DataFrame({"n": np.tile([0.0, 1.0, 2.0], 40)})
    rows["said"] = rows["n"].map({0.0: "nothing", 1.0: "just one", 2.0: "two of them"})
    config = settings(10)
    config["train"]["batch_size"] = 8
    model = aet.train(rows, target="said", output="sequence", config={**config, "model": {"dim": 16, "depth": 1}})
    assert model.trunk.wide is None
    assert model.evaluate(rows)["exact"] > 0.9


def test_words_are_read_in_pieces_of_their_own():
    rows = letters(20)
    rows["words"] = [text.split() for text in rows["text"]]
    model = aet.train(
        rows, target="said", output="sequence", kinds={"text": "text", "words": "words"}, config=settings(1)
    )
    shared = {name: part.shared for name, part in model.parts()}
    assert shared == {"text0": True, "words0": False}
    assert model.predict(rows)["prediction"].notna().all()


def test_an_ensemble_writes_what_most_agree_on():
    made = aet.train_ensemble(
        letters(60), target="said", output="sequence", kinds={"text": "text"}, members=2, config=settings(1)
    )
    answers = made.predict(letters(4, 12)[["text"]])
    assert answers["confidence"].between(0, 1).all()
    assert all(isinstance(text, str) for text in answers["prediction"])

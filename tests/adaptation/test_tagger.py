"""A tagger from its table to its stream: train, predict, evaluate, ask, feedback, replay, update, refuse."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation.replay import replay
from aet.attention.state import ElasticState, applied, merge
from aet.commands.answers import write_answers
from aet.errors import ConfigError, DataError, FeedbackError
from aet.training.split import SplitWarning, split
from tests.adaptation.models import answering, changed
from tests.made import quick

SOME = (
    (("Ann", "Lee"), ("B-PER", "I-PER")),
    (("Bob",), ("B-PER",)),
    (("Oslo",), ("B-LOC",)),
    (("New", "York"), ("B-LOC", "I-LOC")),
    (("went", "to"), ("O", "O")),
    (("the", "dog"), ("O", "O")),
)


def sentences(rows=120, seed=0, some=SOME):
    """Sentences made of people, places and other words, each with its tags."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        parts = [some[i] for i in rng.integers(0, len(some), rng.integers(1, 4))]
        made.append({"words": [w for words, _ in parts for w in words], "tags": [t for _, tags in parts for t in tags]})
    return made


def words_of(rows):
    return [{"words": row["words"]} for row in rows]


@pytest.fixture(scope="module")
def tagger():
    return aet.train(sentences(), target="tags", config=quick(epochs=8, dim=16, dropout=0.0, batch_size=8, lr=1e-2))


def test_it_learns_to_tag(tagger):
    figures = tagger.evaluate(sentences(60, 1))
    assert figures["entity_f1"] > 0.8
    assert figures["token_f1_micro"] > 0.9
    assert figures["rows"] == 60
    assert tagger.statistics.held_out is not None
    assert tagger.statistics.columns["words"]["quantiles"][2] == 4  # words a row


def test_each_answer_has_one_tag_a_word_and_its_entities(tagger):
    rows = [{"words": ["Ann", "Lee", "went", "to", "Oslo"]}, {"words": None}, {"words": ["the"] * 129}]
    answers = tagger.predict(rows)
    assert len(answers["prediction"][0]) == 5
    assert answers["prediction"][1] is None
    assert "expected a list of 1 to 128 words, got 129 words" in answers["problem"][2]
    for entity in answers["entities"][0]:
        assert entity["text"] == " ".join(rows[0]["words"][entity["start"] : entity["end"]])


def test_rows_are_tagged_alone_as_together(tagger):
    rows = words_of(sentences(20, 2))
    together = tagger.logits(tagger.encode(tagger.check(aet.tables.read_table(rows)).frame))
    for number, row in enumerate(rows[:6]):
        alone = tagger.logits(tagger.encode(tagger.check(aet.tables.read_table([row])).frame))
        torch.testing.assert_close(alone[0], together[number], rtol=1e-4, atol=1e-5)


def test_a_saved_tagger_answers_the_same(tagger, tmp_path):
    rows = words_of(sentences(10, 3))
    again = aet.load(tagger.save(tmp_path / "run"))
    assert again.predict(rows).to_dict("list") == tagger.predict(rows).to_dict("list")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_answers_are_written_to_files(tagger, tmp_path, suffix):
    answers = tagger.predict([*words_of(sentences(3, 3)), {"words": None}], proba=True)
    path = tmp_path / f"answers.{suffix}"
    write_answers([answers], path, tagger)
    if suffix == "jsonl":
        cells = [json.loads(line) for line in path.read_text().splitlines()]
        found = [(cell["prediction"], cell["entities"]) for cell in cells]
    else:
        frame = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
        found = [(json.loads(row["prediction"]), json.loads(row["entities"])) for _, row in frame.iloc[:3].iterrows()]
        assert frame["prediction"].isna().tolist() == [False, False, False, True]
    assert found[:3] == list(zip(answers["prediction"][:3], answers["entities"][:3], strict=True))


def test_words_may_be_an_input_of_another_output():
    rows = [{"words": row["words"], "n": len(row["words"]) > 3} for row in sentences(60, 13)]
    with (
        pytest.raises(aet.errors.SchemaError, match="left out are 'words'"),
        pytest.warns(UserWarning, match="of each"),
    ):
        aet.train(rows, target="n", config=quick(epochs=1))
    model = aet.train(rows, target="n", kinds={"words": "words"}, config=quick(epochs=1))
    assert [spec.kind for spec in model.schema.inputs] == ["words"]
    stream = model.stream(adapt="deyo", guard="always")
    assert set(stream.predict(words_of(rows))["prediction"]) <= {True, False}


def test_states_of_a_row_each_and_merged_ones_are_the_applied_ones(tagger):
    batch = tagger.encode(tagger.check(aet.tables.read_table(words_of(sentences(6, 4)))).frame)
    zero = ElasticState.zeros(tagger)
    states = [zero.map(lambda _, t, k=k: 0.3 * torch.sin(torch.arange(t.numel()) + k).view(t.shape)) for k in range(6)]
    source = tagger.logits(batch)
    with applied(zero):
        torch.testing.assert_close(tagger.logits(batch), source)
    with applied(ElasticState.stack(states)):
        each = tagger.logits(batch)
    assert (each - source).abs().max() > 0.05
    for number, state in enumerate(states):
        with applied(state):
            own = tagger.logits(batch)
        torch.testing.assert_close(each[number], own[number], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(merge(tagger, state).logits(batch), own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("adapt", "guard"), [("auto", "earned"), ("feedback", "always")])
def test_late_tags_teach_a_stream(tagger, tmp_path, adapt, guard):
    renamed = tuple((words, tuple(t.replace("LOC", "PER") for t in tags)) for words, tags in SOME)
    rows = sentences(64, 5, renamed)  # places are people now
    stream = tagger.stream(adapt=adapt, guard=guard)
    stream.predict(words_of(rows))
    ids = stream.ask(24)
    stream.feedback(ids, [rows[i]["tags"] for i in ids])
    later = sentences(40, 6, renamed)
    frame = tagger.check(aet.tables.read_table(later), need_target=True).frame
    batch, target = tagger.encode(frame), tagger.output.encode(frame)
    gain = tagger.output.scores(stream.method.answer(batch), target) - tagger.output.scores(
        tagger.logits(batch), target
    )
    assert gain.mean() > 0.1
    assert stream.estimate()["value"].dropna().between(0, 1).all()
    assert "entities" in stream.predict(words_of(later))
    saved = aet.adaptation.stream.Stream.load(tagger, stream.save(tmp_path / "stream", rows=True))
    assert all(torch.equal(saved.state[name], t) for name, t in stream.state.items())
    assert stream.report(tmp_path / "report.html").stat().st_size > 10_000


def test_wrong_tags_for_a_served_row_change_nothing(tagger):
    rows = sentences(8, 7)
    stream = tagger.stream()
    stream.predict(words_of(rows))
    with pytest.raises(FeedbackError, match="one a word"):
        stream.feedback([0, 1], [rows[0]["tags"], [*rows[1]["tags"], "O"]])
    with pytest.raises(FeedbackError, match="'B-ORG' is no tag"):
        stream.feedback([0], [["B-ORG"] * len(rows[0]["tags"])])
    assert stream.labels == 0
    stream.feedback([0, 1], [rows[0]["tags"], rows[1]["tags"]])
    assert stream.labels == 2


def test_a_replay_scores_words_and_notes_what_does_not_fit(tagger):
    rows = sentences(128, 8)
    rows[:40] = [{"words": row["words"], "tags": [*row["tags"], "O"]} for row in rows[:40]]
    frame = aet.tables.read_table(rows)
    record = replay(tagger, [("late", frame)], labels=64, delay=0, adapt="source").record
    assert record["summary"]["source"] > 0.8
    assert record["summary"]["unknown"] == 0
    assert any(event["kind"] == "refused" and "one a word" in event["text"] for event in record["events"])


def test_methods_that_need_classes_refuse_and_the_others_answer(tagger):
    batch = tagger.encode(tagger.check(aet.tables.read_table(words_of(sentences(12, 9)))).frame)
    assert len(batch) == 12
    works = answering(tagger, batch)
    assert {"source", "auto", "feedback", "align"} <= works
    assert not works & {"tent", "prior", "t3a", "local_mix"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"members": 4}}, "model.members=1"),
        ({"model": {"wide": 4}}, "model.wide=0"),
        ({"train": {"switches": {"cutmix": {}}}}, "answers for each word"),
        ({"train": {"switches": {"focus_entropy": {}}}}, "answers for each word"),
        ({"train": {"switches": {"label_smoothing": {}}}}, "expected the output 'label'"),
        ({"columns": {"keep": 1}}, "columns.keep"),
    ],
)
def test_what_has_no_meaning_for_tags_is_refused(changes, said):
    config = changed(quick(epochs=1), changes)
    with pytest.raises(ConfigError, match=said):
        aet.train([{**row, "n": float(i)} for i, row in enumerate(sentences(20))], target="tags", config=config)


def test_switches_that_have_a_meaning_train(tagger):
    on = {"mixup": {}, "r_drop": {}, "fgm": {}, "sample_attention": {}, "pretrain": {"epochs": 1}}
    config = quick(epochs=2, dropout=0.1, switches=on, keep_rows=20, attention={"ssmax": {}})
    model = aet.train(sentences(40), target="tags", config=config)
    assert all(record["acted"] for record in model.report["switches"])


def test_an_update_learns_new_sentences_and_refuses_new_types(tagger):
    updated = tagger.update(sentences(40, 10), config={"train": {"epochs": 1}})
    assert updated.model.evaluate(sentences(20, 11))["entity_f1"] > 0.5
    with pytest.raises(FeedbackError, match="new training"):
        tagger.update([{"words": ["Acme", "ran"], "tags": ["B-ORG", "O"]}] * 8, config={"train": {"epochs": 1}})


def test_an_ensemble_of_taggers_tags(tmp_path):
    made = aet.train_ensemble(sentences(20), target="tags", members=2, config=quick(epochs=1))
    answers = made.predict(words_of(sentences(4, 12)))
    assert [len(tags) for tags in answers["prediction"]] == [len(row["words"]) for row in sentences(4, 12)]


def test_a_type_of_one_row_stays_in_training():
    rows = [*sentences(12), {"words": ["Acme"], "tags": ["B-ORG"]}]
    frame = aet.tables.read_table(rows)
    schema = aet.schema.infer(frame, "tags")
    for seed in range(5):
        train, valid = split(frame, schema, 0.4, seed)
        assert 12 in train
        assert len(valid) > 0


def test_held_out_rows_with_a_new_type_are_left_out():
    rows = [{**row, "when": i} for i, row in enumerate([*sentences(12), *[{"words": ["Acme"], "tags": ["B-ORG"]}] * 2])]
    frame = aet.tables.read_table(rows)
    schema = aet.schema.infer(frame, "tags", time="when")
    with pytest.warns(SplitWarning, match="Entities of type ORG are only among the held-out"):
        _, valid = split(frame, schema, 0.3, 0)
    assert not {12, 13} & set(valid.tolist())
    with pytest.raises(DataError, match="type ORG"):
        split(frame.iloc[:13], schema, 0.1, 0)

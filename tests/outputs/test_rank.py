"""The item that comes next: figures over the whole catalogue, which input and output share; nothing told early."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import Stream
from aet.adaptation.read_once import ReadOnce
from aet.attention.state import ElasticState
from aet.batch import Batch
from aet.errors import ConfigError, DataError, FeedbackError
from aet.inputs.catalogue import FIRST
from aet.outputs.rank import NEVER
from aet.outputs.ranking import ranking_figures, ranks, reciprocals_apart

LENGTH = 6


def walks(users=40, items=8, seed=0, rare=()):
    """Events that mostly go one item on, around a circle."""
    rng = np.random.default_rng(seed)
    records = []
    for user in range(users):
        place = int(rng.integers(items))
        for hour in range(int(rng.integers(4, 12))):
            records.append((user, f"i{place}", 3600.0 * hour))
            place = (place + 1) % items if rng.random() < 0.9 else int(rng.integers(items))
    return pd.DataFrame(records, columns=["user", "item", "time"])


def settings(epochs=1, output=None, **changes):
    model = {"dim": 16, "depth": 1, "heads": 2, **changes.pop("model", {})}
    train = {"epochs": epochs, "lr": 0.01, "rehearsals": 0, "drift": 0.0, "batch_size": 16}
    return {"model": model, "train": train, "output": output or {}, "inputs": {"events": {"length": LENGTH, **changes}}}


def trained(table, config, **given):
    rows = aet.histories(table, "user", "item", "time", length=LENGTH, split="leave_last_out")
    model = aet.train(
        rows[rows["part"] != "test"],
        "next",
        output="rank",
        part="part",
        ignore=["user", "time"],
        config=config,
        **given,
    )
    return model, rows[rows["part"] == "test"].reset_index(drop=True)


@pytest.fixture(scope="module")
def walked():
    """A model that has learned the circle, and its test rows."""
    return trained(walks(), settings(12))


def test_figures_by_hand():
    logits = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1], [0.0, 0.0, 0.0]])
    rank = ranks(logits, torch.tensor([2, 2, 1]))
    assert rank.tolist() == [2.0, 3.0, 2.0]
    figures = ranking_figures(rank)
    assert figures["hit_at_1"] == 0.0
    assert figures["hit_at_5"] == 1.0
    assert figures["ndcg_at_10"] == pytest.approx((2 / math.log2(3) + 1 / math.log2(4)) / 3)
    assert figures["mrr"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)


def test_it_learns_what_comes_next(walked):
    model, test = walked
    figures = model.evaluate(test)
    assert figures["hit_at_1"] > 0.7
    assert figures["mrr"] > 0.8
    answers = model.predict(test)
    assert (answers["known_events"] == [len(h) for h in test["history"]]).all()
    for row in answers.itertuples():
        listed = [one["item"] for one in row.items]
        assert listed[0] == row.prediction
        assert len(set(listed)) == 8
        scores = [one["score"] for one in row.items]
        assert scores == sorted(scores, reverse=True)
        assert row.confidence == pytest.approx(scores[0], abs=1e-5)


def test_an_empty_history_is_answered_from_what_comes_first_in_general(walked):
    model, _test = walked
    answers = model.predict([{"history": []}, {"history": None}, {"history": [{"item": "never heard of"}]}])
    assert answers["known_events"].tolist() == [0, 0, 0]
    assert answers["prediction"].notna().all()
    assert answers["confidence"][0] < 0.5
    assert answers["items"][0] == answers["items"][1]


def test_a_place_knows_nothing_of_what_comes_after_it(walked):
    model, test = walked
    batch = model.encode(model.check(test.assign(part="test")).frame)
    row = batch[torch.tensor([int((batch.values["events0"][..., 0] >= FIRST).sum(1).argmax())])]
    values = row.values["events0"].clone()
    values[:, -1] = 0
    values[:, -1, 0] = FIRST
    model.trunk.training = True  # every place answers, and nothing is dropped
    try:
        with torch.no_grad():
            one, two = model(row), model(Batch({"events0": values}))
    finally:
        model.eval()
    torch.testing.assert_close(one[:, :-1], two[:, :-1], rtol=1e-4, atol=1e-5)
    assert (one[:, -1] - two[:, -1]).abs().max() > 1e-3


def test_training_answers_at_every_place(walked):
    model, _ = walked
    rows = aet.histories(walks(3), "user", "item", "time", length=LENGTH)
    target = model.output.encode(rows)
    for row, history in enumerate(rows["history"]):
        came = [*[event["item"] for event in history], rows["next"][row]][-LENGTH:]
        assert [model.output.items[code] for code in target[row].tolist() if code >= 0] == came
    model.trunk.train()
    logits = model(model.encode(rows))
    assert logits.shape == (len(rows), LENGTH, 8)
    by_hand = [
        torch.stack([-logits[r, p].log_softmax(-1)[target[r, p]] for p in range(LENGTH) if target[r, p] >= 0]).mean()
        for r in range(len(rows))
    ]
    torch.testing.assert_close(model.output.losses(logits, target), torch.stack(by_hand))
    model.eval()


def test_input_and_output_share_their_items(walked):
    model, _ = walked
    names = [name for name, _ in model.named_parameters()]
    assert sum("ids" in name for name in names) == 1
    assert model.output.head.weight.data_ptr() == model.inputs["events0"].catalogue.ids.weight[FIRST:].data_ptr()


def test_saved_and_loaded_it_answers_alike(walked, tmp_path):
    model, test = walked
    model.save(tmp_path / "run")
    again = aet.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.predict(test), model.predict(test))


def test_what_was_seen_may_be_left_out():
    model, test = trained(walks(20), settings(output={"repeats": False, "top": 3}))
    answers = model.predict(test)
    for history, items in zip(test["history"], answers["items"], strict=True):
        seen = {event["item"] for event in history[-LENGTH:]}
        if len(seen) < 6:
            assert not seen & {one["item"] for one in items}
    logits = model.logits(model.encode(model.check(test).frame))
    assert (
        (logits == NEVER).sum(1) == torch.tensor([len({e["item"] for e in h[-LENGTH:]}) for h in test["history"]])
    ).all()


def test_a_new_item_is_ranked_by_its_content():
    """Two shelves; who buys from one goes on there. A new item of a shelf stands above one of the other shelf."""
    rng = np.random.default_rng(0)
    shelf = {f"{name}{n}": name for name in ("tea", "nail") for n in range(8)}
    records = []
    for user in range(80):
        own = [item for item, name in shelf.items() if name == ("tea", "nail")[user % 2] and not item.endswith("7")]
        records += [(user, item, float(n)) for n, item in enumerate(rng.permutation(own)[:6])]
    table = [{"item": item, "shelf": name} for item, name in shelf.items()]
    model, _ = trained(pd.DataFrame(records, columns=["user", "item", "time"]), settings(15, items=table))
    head = model.output
    asked = pd.DataFrame({"history": [["tea0", "tea1"], ["nail0", "nail1"]]})
    logits = model.logits(model.encode(model.check(asked).frame))
    tea, nail = head.items.index("tea7"), head.items.index("nail7")
    assert logits[0, tea] > logits[0, nail]
    assert logits[1, nail] > logits[1, tea]
    assert head.learn([{"item": "tea9", "shelf": "tea"}, {"item": "nail9", "shelf": "nail"}]) == ["tea9", "nail9"]
    more = model.logits(model.encode(model.check(asked.iloc[:1]).frame))
    torch.testing.assert_close(more[:, : len(shelf)], logits[:1])
    assert more[0, head.items.index("tea9")] > more[0, head.items.index("nail9")]


def test_late_labels_and_updates_may_bring_items(walked):
    model, test = walked
    stream = model.stream(adapt="feedback")
    stream.predict(test)
    stream.feedback(list(range(20)), test["next"][:20].tolist())
    assert stream.labels == 20
    with pytest.raises(FeedbackError, match=r"'hat' is no item of the catalogue of 8.*learn"):
        stream.feedback([21], ["hat"])
    rows = pd.DataFrame({"history": [[{"item": "i1", "time": 0.0}]] * 12, "next": ["hat"] * 12})
    made = model.update(rows.assign(part=["train"] * 9 + ["valid"] * 3), config={"train": {"epochs": 12}}).model
    assert made.output.items[-1] == "hat"
    assert model.output.width == 8
    assert made.predict(rows.iloc[:1])["items"][0][0]["item"] in ("hat", "i2")
    assert made.evaluate(rows)["mrr"] > 0.4


def test_forgetting_by_the_clock_is_learned_and_starts_at_none():
    config = settings(3, model={"attention": {"decay": {}}})
    model, test = trained(walks(20), config)
    assert model.attention_acted()["decay"].startswith("rate 0 to")
    plain = model.predict(test)
    for block in model.trunk.blocks:
        with torch.no_grad():
            block.attention.mechanisms["decay"].rate.fill_(20.0)
    forgetful = model.predict(test)
    assert (plain["confidence"] - forgetful["confidence"]).abs().max() > 1e-4
    rows, index = model.encode(test), torch.tensor([3, 1, 4])
    once = ReadOnce(model)
    once.read(rows, len(rows), ElasticState.zeros(model))
    torch.testing.assert_close(once(rows[index], index), model.logits(rows)[index], rtol=0, atol=1e-5)


def test_without_times_to_read_the_clock_is_an_error():
    table = pd.DataFrame({"x": [1.0, 2.0] * 20, "y": ["a", "b"] * 20})
    with pytest.raises(ConfigError, match="reads 'times' of each token, and no input"):
        aet.train(table, "y", config={"model": {"attention": {"decay": {}}}, "train": {"epochs": 1}})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model": {"members": 2}}, "model.members=1, got 2"),
        ({"model": {"attention": {"dynamic": {}}}}, None),
        ({"train": {"switches": {"cutmix": {}}}}, "answers for each word or place"),
        ({"model": {"wide": 2}}, "model.wide=0"),
    ],
)
def test_what_does_not_go_with_it_says_so(config, said):
    base = settings()
    merged = {**base, **{name: {**base.get(name, {}), **part} for name, part in config.items()}}
    if said is None:
        model, test = trained(walks(10), merged)
        assert len(model.predict(test)) == len(test)
        return
    with pytest.raises(ConfigError, match=said):
        trained(walks(10), merged)


def test_test_rows_left_in_are_an_error():
    rows = aet.histories(walks(6), "user", "item", "time", split="leave_last_out")
    with pytest.raises(DataError, match=r"expected 'train' or 'valid' in each row, got neither in .*'test'"):
        aet.train(rows, "next", output="rank", part="part", ignore=["user", "time"], config=settings())


def test_a_history_may_stand_beside_other_columns():
    rows = aet.histories(walks(30), "user", "item", "time", length=LENGTH, split="leave_last_out")
    rows["age"] = np.arange(len(rows)) % 7 * 1.0
    model = aet.train(
        rows[rows["part"] != "test"], "next", output="rank", part="part", ignore=["user", "time"], config=settings(6)
    )
    assert model.evaluate(rows[rows["part"] == "test"])["mrr"] > 0.4


def test_a_history_may_answer_other_questions():
    """Whether somebody bought a hat: a class of a history, no item."""
    rng = np.random.default_rng(0)
    cells = [
        [{"item": str(i), "time": float(t)} for t, i in enumerate(rng.choice(list("abch"), 5))] for _ in range(120)
    ]
    hats = ["hat" if any(event["item"] == "h" for event in cell) else "none" for cell in cells]
    frame = pd.DataFrame({"history": cells, "bought": hats})
    config = {**settings(25), "output": {}}
    model = aet.train(frame.iloc[:90], "bought", config=config)
    assert model.evaluate(frame.iloc[90:])["accuracy"] > 0.8


@pytest.mark.parametrize("items", [3, 40, 400])
@pytest.mark.parametrize("ties", [False, True])
def test_no_item_can_tell_two_rankings_further_apart_than_they_are_said_to_be(items, ties):
    generator = torch.Generator().manual_seed(items)
    one = torch.randn(30, items, generator=generator)
    other = one + 0.3 * torch.randn(30, items, generator=generator)
    if ties:
        one, other = (logits.mul(2).round() for logits in (one, other))
        one[0] = 0.0
    every = torch.arange(items)
    exact = torch.stack(
        [(1 / ranks(one, every[i].expand(30)) - 1 / ranks(other, every[i].expand(30))).abs() for i in range(items)]
    ).amax(0)
    bound = reciprocals_apart(one, other)
    assert (exact <= bound + 1e-6).all()
    assert torch.equal(reciprocals_apart(one, one), torch.zeros(30))
    if not ties:
        assert (bound <= exact.clamp_min(1 / 101) + 1e-6).all()


def test_rows_asked_before_an_item_was_learned_may_turn_out_to_be_it(tmp_path):
    items = [{"item": f"i{k}", "shelf": "tea" if k % 2 else "nail"} for k in range(8)]
    model, test = trained(walks(), settings(2, items=items))
    stream = model.stream(adapt="feedback")
    stream.predict(test)
    first, second, *_ = stream.ask(8)
    model.output.learn([{"item": "hat", "shelf": "tea"}])
    stream.feedback([first], ["hat"])
    copy = Stream.load(model, stream.save(tmp_path, rows=True))
    for one in (stream, copy):
        one.feedback([second], ["i1"])
        assert one.guard.labels == 2
        assert one.ask(4)

"""Long texts by windows, and texts without end: bounded work, strange ones, and several targets of one text."""

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import aet
from aet.errors import FeedbackError

from .inputs.networks import network
from .made import WORDS

KINDS = {"text": "text"}
SMALL = {"model": {"dim": 16, "depth": 1, "heads": 2}}
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(network(tmp_path_factory.mktemp("network")))


def letters(rows=160, seed=0, words=30):
    """Long texts; a word near their end says the mood, one near their start the topic."""
    rng = np.random.default_rng(seed)
    moods, topics = rng.choice(["happy", "sad"], rows), rng.choice(["pets", "trees"], rows)
    said = {"happy": "lovely", "sad": "again", "pets": "dog", "trees": "tree"}
    plain = [word for word in WORDS if word not in said.values()]
    texts = []
    for mood, topic in zip(moods, topics, strict=True):
        text = list(rng.choice(plain, words))
        text[rng.integers(2, 6)], text[-rng.integers(2, 6)] = said[topic], said[mood]
        texts.append(" ".join(text))
    return pd.DataFrame({"text": texts, "mood": moods, "topic": topics})


def settings(folder, **text):
    train = {"epochs": 10, "batch_size": 16, "lr": 0.02, "rehearsals": 0, "drift": 0.0}
    return {"inputs": {"text": {"backbone": folder, "rate": 1.0, **text}}, "train": train}


@pytest.fixture(scope="module")
def windowed(folder):
    own = settings(folder, max_pieces=12, windows=4)
    return aet.train(letters(), "mood", ignore="topic", kinds=KINDS, config=own)


def test_windows_reach_the_end_of_a_long_text(windowed, folder):
    rows = letters(80, seed=1)
    assert windowed.inputs["text0"].windows == 3
    assert windowed.evaluate(rows)["accuracy"] > 0.9
    one = settings(folder, max_pieces=12)
    cut = aet.train(
        letters(), "mood", ignore="topic", kinds=KINDS, config={**one, "train": {**one["train"], "epochs": 3}}
    )
    assert cut.evaluate(rows)["accuracy"] < 0.7


def test_attention_pools_over_all_windows(windowed):
    """The pooling's weights are one distribution over the pieces of all windows."""
    part = windowed.inputs["text0"]
    batch = windowed.encode(letters(4, seed=2))
    tokens, mask = windowed.tokens(batch)
    assert tokens.shape[1] == part.length == 36
    assert mask.view(4, 3, 12).any(-1).all(), "every window holds pieces"
    short = windowed.tokens(windowed.encode(pd.DataFrame({"text": ["the dog"]})))[1]
    assert short.view(1, 3, 12).any(-1).tolist() == [[True, False, False]], "an empty window takes no part"


def test_a_strange_long_text_is_told(windowed):
    scope = aet.Scope(windowed, letters(60, seed=3), level=0.1)
    assert scope(letters(60, seed=4)).mean() > 0.75
    assert 0 <= scope.p_values(pd.DataFrame({"text": ["x" * MEGABYTE, "qqq zzz " * 9, ""]})).min() <= 1


@pytest.mark.parametrize("said", ["lovely day ", "x", "\n", "\ud83d", "好", "\u202e", "👩\u200d"])
@pytest.mark.parametrize("own", [True, False])
def test_a_megabyte_takes_no_more_than_a_page(own, said, windowed, request):
    """Reading it is bounded by the places of a row, not by the text."""
    cell = said * (MEGABYTE // len(said))
    part = (request.getfixturevalue("plain") if own else windowed).inputs["text0"]
    rows = pd.DataFrame({"text": pd.Series([cell] * 8, dtype=object)})
    part.encode(rows)
    tracemalloc.start()
    started = time.process_time()
    values = part.encode(rows)
    took, (_, most) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert values.shape == (8, part.length)
    assert took < 2.0
    assert most < 8 * MEGABYTE, "less than the rows themselves"


@pytest.fixture(scope="module")
def plain():
    rows = letters(40)
    return aet.train(
        rows, "mood", ignore="topic", kinds=KINDS, config={**SMALL, "train": {"epochs": 1, "rehearsals": 0}}
    )


@pytest.mark.parametrize("backbone", [True, False])
def test_topic_and_mood_at_once(backbone, folder, tmp_path):
    config = settings(folder, max_pieces=12, windows=4) if backbone else {**SMALL, "train": settings("")["train"]}
    rows = letters(160, seed=5)
    model = aet.train(rows, ["mood", "topic"], output="several", kinds=KINDS, config=config, out=tmp_path)
    figures = model.evaluate(letters(60, seed=6))
    assert {"mood_accuracy", "topic_accuracy", "score"} <= set(figures)
    assert figures["score"] > 0.8
    fresh = letters(60, seed=7)
    stream = aet.load(tmp_path).stream()
    answers = stream.predict(fresh[["text"]])
    assert {"mood", "mood_confidence", "topic", "topic_confidence"} <= set(answers)
    asked = stream.ask(8)
    told = fresh.loc[asked, ["mood", "topic"]]
    told.iloc[0, 1] = None  # somebody knew the mood only
    stream.feedback(asked, told.to_numpy().tolist())
    assert stream.labels == 8
    free = next(i for i in range(60) if i not in asked)
    with pytest.raises(FeedbackError, match="'angry'"):
        stream.feedback([free], [["angry", "pets"]])
    assert stream.predict(fresh[["text"]])["prediction"].notna().all()
    stream.save(tmp_path / "stream")
    again = aet.adaptation.Stream.load(model, tmp_path / "stream")
    assert again.labels == 8

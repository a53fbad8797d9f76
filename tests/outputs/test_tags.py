"""What tags promise beyond the contract: words that are not there, allowed answers, figures by hand, clear refusals."""

import pandas as pd
import pytest
import torch

from aet.cells.words import MOST, objects
from aet.errors import ConfigError, DataError, FeedbackError
from aet.outputs.entities import spans
from aet.outputs.tags import TagsOutput, marked
from aet.schema import Schema

CELLS = [["B-PER", "I-PER", "O"], ["O", "B-LOC"]]


def made(cells=CELLS):
    torch.manual_seed(0)
    part = TagsOutput(("tags",), 4)
    part.fit(pd.DataFrame({"tags": objects(cells)}), {})
    part.build()
    return part.eval()


def told(part, cells, size=6.0):
    """Logits that say these tags."""
    target = part.encode(pd.DataFrame({"tags": objects(cells)}))
    z = size * torch.nn.functional.one_hot(target.clamp_min(0), len(part.classes)).float()
    return marked(z, target >= 0), target


def test_tags_are_o_and_both_marks_of_every_type():
    assert made().classes == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert made([["B", "I", "O"], ["B-X"]]).classes == ["O", "B", "I", "B-X", "I-X"]


def test_an_entity_that_begins_inside_is_read_as_begun():
    part = made([["I-PER", "I-PER", "O"]])
    _, target = told(part, [["I-PER", "I-PER", "B-PER"]])
    assert [part.classes[code] for code in target[0, :3].tolist()] == ["B-PER", "I-PER", "B-PER"]


def test_a_text_of_tags_is_cut_at_its_blanks():
    part = made(["B-PER I-PER O", "O B-LOC"])
    assert torch.equal(part.encode(pd.DataFrame({"tags": ["O B-LOC"]})), told(part, [["O", "B-LOC"]])[1])


def test_answers_are_lists_with_their_entities():
    part = made()
    logits, _ = told(part, CELLS)
    answers = part.finished(
        part.answers(logits, proba=True), pd.DataFrame({"words": objects([["Ann", "Lee", "ran"], ["in", "Oslo"]])})
    )
    assert answers["prediction"].tolist() == CELLS
    assert [[{k: e[k] for k in ("text", "type", "start", "end")} for e in row] for row in answers["entities"]] == [
        [{"text": "Ann Lee", "type": "PER", "start": 0, "end": 2}],
        [{"text": "Oslo", "type": "LOC", "start": 1, "end": 2}],
    ]
    p = 1 / (1 + 4 * 2.718281828**-6.0)
    assert answers["confidence"].tolist() == pytest.approx([p, p], abs=1e-5)
    assert answers["p_B-PER"].map(len).tolist() == [3, 2]
    assert answers["entities"][0][0]["confidence"] == pytest.approx(p, abs=1e-5)


def test_answers_never_break_an_entity():
    part = made()
    _, target = told(part, [["O"] * 9] * 50)
    z = 3 * torch.randn(50, MOST, len(part.classes), generator=torch.Generator().manual_seed(0))
    logits = marked(z, target >= 0)
    freely = [[part.classes[code] for code in row[:9]] for row in z.argmax(-1).tolist()]
    answers = part.answers(logits)["prediction"]
    assert any(spans(tags) != spans(tags, strict=True) for tags in freely)
    assert all(spans(tags) == spans(tags, strict=True) for tags in answers)


def test_places_without_a_word_count_for_nothing():
    part = made()
    logits, target = told(part, CELLS, size=1.0)
    z, real = part.by_word(logits)
    noisy = torch.cat([torch.where(real[..., None], z, 9 * torch.randn_like(z)), real[..., None].float()], -1).flatten(
        1
    )
    for figure in (part.row_losses, part.scores, part.belief):
        torch.testing.assert_close(figure(noisy, target), figure(logits, target))
    torch.testing.assert_close(part.uncertainty(noisy), part.uncertainty(logits))
    pd.testing.assert_frame_equal(part.answers(noisy), part.answers(logits))
    assert part.metrics(noisy, target) == part.metrics(logits, target)


def test_a_row_counts_the_mean_over_its_words():
    part = made()
    logits, _ = told(part, [["B-PER", "I-PER", "O"]])
    _, truth = told(part, [["B-PER", "I-PER", "B-LOC"]])
    assert float(part.scores(logits, truth)) == pytest.approx(2 / 3)
    p = torch.softmax(torch.tensor([6.0, 0, 0, 0, 0]), 0)
    assert float(part.row_losses(logits, truth)) == pytest.approx(float(-(2 * p[0].log() + p[1].log()) / 3))
    assert float(part.belief(logits, truth)) == pytest.approx(float((2 * p[0] + p[1]) / 3))
    assert float(part.uncertainty(logits)) == pytest.approx(
        float(torch.special.entr(p).sum() / torch.tensor(5.0).log()), rel=1e-5
    )


def test_figures_of_entities_and_of_words_stand_side_by_side():
    part = made()
    logits, _ = told(part, [["B-PER", "O", "O", "O"], ["O", "B-LOC"]])
    _, truth = told(part, [["B-PER", "I-PER", "O", "O"], ["O", "B-PER"]])
    figures = part.metrics(logits, truth)
    assert figures["entity_f1"] == 0.0  # neither span is whole with its type
    assert figures["untyped_entity_f1"] == 0.5
    assert figures["token_f1_micro"] == pytest.approx(4 / 6)
    assert figures["word_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["token_recall_B-PER"] == 0.5
    assert figures["token_support_B-PER"] == 2


def test_a_count_of_tags_that_is_not_that_of_the_words_is_an_error():
    part = made()
    values = torch.zeros(2, 6, 3, dtype=torch.long)
    values[0, 1:4, 1], values[1, 1:3, 1] = torch.arange(1, 4), torch.arange(1, 3)
    part.matches({"words0": values}, told(part, CELLS)[1])
    with pytest.raises(FeedbackError, match="A row of 2 words takes 2 tags, one a word; got 3"):
        part.matches({"words0": values}, told(part, [CELLS[0], CELLS[0]])[1])


def test_what_is_no_bio_tag_is_told_with_the_way_to_write_it():
    with pytest.raises(DataError, match=r"got 'S-PER'\. Write an entity of type x as B-x"):
        made([["S-PER", "O"]])
    with pytest.raises(FeedbackError, match=r"'B-ORG' is no tag of the target 'tags'.*new training"):
        told(made(), [["B-ORG"]])


def test_several_members_and_other_tags_are_refused():
    with pytest.raises(ConfigError, match=r"model\.members=1"):
        made().build(members=4)
    with pytest.raises(ConfigError, match="other tags"):
        made().translated(made([["B-ORG"]]), torch.zeros(1, 1))


def test_a_schema_with_tags_has_one_column_of_words():
    from aet.errors import SchemaError
    from aet.schema import InputSpec

    words = [InputSpec(name, "words", (name,)) for name in ("a", "b")]
    assert TagsOutput.of(Schema((words[0],), ("y",), "tags"), 4).column == "a"
    for inputs in (tuple(words), (InputSpec("n", "number", ("n",)),)):
        with pytest.raises(SchemaError, match="one input: expected one of kind 'words'"):
            Schema(inputs, ("y",), "tags")

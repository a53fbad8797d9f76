"""Categories: places of values, and places for the missing and the unseen."""

import pandas as pd
import torch

from aet.inputs.category import FIRST, MISSING, UNSEEN, CategoryInput
from aet.schema import InputSpec


def part(cells, **settings):
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    made = CategoryInput([InputSpec("x", "category", ("x",))], 4)
    made.fit(frame, settings)
    made.build()
    return made


def codes(made, cells):
    return made.encode(pd.DataFrame({"x": pd.Series(cells, dtype=object)})).flatten().tolist()


def test_missing_unseen_and_rare_values_have_places_of_their_own():
    made = part(["b", "a", "a", "b", "once", None])
    assert codes(made, ["a", "b", "once", "new", None]) == [FIRST, FIRST + 1, UNSEEN, UNSEEN, MISSING]


def test_values_that_all_occur_once_are_kept():
    assert codes(part(["a", "b"]), ["a", "b", "c"]) == [FIRST, FIRST + 1, UNSEEN]


def test_the_most_frequent_values_are_kept():
    made = part(["a"] * 2 + ["b"] * 5 + ["c"] * 3, max_values=2)
    assert codes(made, ["a", "b", "c"]) == [UNSEEN, FIRST, FIRST + 1]


def test_a_column_without_values_still_answers():
    made = part([None, None, None])
    assert codes(made, ["a", None]) == [UNSEEN, MISSING]
    assert made(torch.tensor([[MISSING], [UNSEEN]]))[0].shape == (2, 1, 4)


def test_two_columns_do_not_share_embeddings():
    specs = [InputSpec(name, "category", (name,)) for name in ("x", "y")]
    frame = pd.DataFrame({"x": ["a", "a", "b", "b"], "y": ["a", "a", "a", "a"]}, dtype=object)
    made = CategoryInput(specs, 4)
    made.fit(frame, {})
    made.build()
    tokens, _ = made(made.encode(frame))
    assert made.embedding.num_embeddings == (FIRST + 2) + (FIRST + 1)
    assert not torch.equal(tokens[0, 0], tokens[0, 1])


def test_drift_hides_values_and_invents_none():
    made = part(list("ab") * 20)
    values = made.encode(pd.DataFrame({"x": list("ab") * 20}))
    moved = made.augment(values, 1.0, torch.Generator().manual_seed(1))
    changed = moved != values
    assert changed.any()
    assert (moved[changed] == UNSEEN).all()
    assert changed.float().mean() < 0.5

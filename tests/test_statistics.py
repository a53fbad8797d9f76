"""Source statistics: moments, columns, and the file."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from aet.errors import RunError
from aet.monitoring.performance import HeldOut
from aet.schema import InputSpec, Schema
from aet.statistics import NAMED, OTHER, Moments, SourceStatistics, describe_columns, label_shares, merged_columns


def made():
    layers = [Moments(torch.randn(4), torch.rand(4) + 0.1) for _ in range(11)]
    return SourceStatistics(
        layers, torch.tensor([0.4, 0.6]), torch.eye(2) / 2, torch.linspace(0, 1, 101), {"a": {}}, [1.0]
    )


def test_moments_by_hand_with_and_without_padding():
    tokens = torch.tensor([[[1.0], [3.0]], [[5.0], [99.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    moments = Moments.of(tokens, mask)
    assert float(moments.mean) == 3.0
    assert float(moments.std) == pytest.approx((8 / 3) ** 0.5, abs=1e-5)
    assert float(Moments.of(tokens).mean) == 27.0


def test_moments_of_constant_tokens_have_a_finite_slope():
    tokens = torch.ones(2, 3, 4, requires_grad=True)
    Moments.of(tokens).std.sum().backward()
    assert torch.isfinite(tokens.grad).all()


def test_they_come_back_from_the_file_layer_by_layer(tmp_path):
    statistics = made()
    save_file(statistics.tensors(), tmp_path / "s.safetensors")
    again = SourceStatistics.load(tmp_path / "s.safetensors", {"columns": {"a": {}}, "attention": [1.0]})
    assert len(again.layers) == 11
    for one, two in zip(statistics.layers, again.layers, strict=True):
        assert torch.equal(one.mean, two.mean)
        assert torch.equal(one.std, two.std)
    assert torch.equal(again.confusion, statistics.confusion)
    assert torch.equal(again.label_mix, statistics.label_mix)
    assert again.columns == {"a": {}}


def test_how_sure_and_right_held_out_answers_were_comes_back(tmp_path):
    statistics = made()
    statistics.held_out = HeldOut.of([0.9, 0.8, 0.6], [1, 0, 1], [([0.7, 0.6], [1, 0])])
    save_file(statistics.tensors(), tmp_path / "s.safetensors")
    again = SourceStatistics.load(tmp_path / "s.safetensors", {"columns": {}, "attention": []}).held_out
    assert (again.rows, again.accuracy, again.confidence) == (3, pytest.approx(2 / 3), pytest.approx(2.3 / 3))
    assert np.array_equal(again.quantiles, statistics.held_out.quantiles)
    assert np.array_equal(again.drifts, statistics.held_out.drifts)


def test_statistics_of_before_have_none(tmp_path):
    save_file(made().tensors(), tmp_path / "s.safetensors")
    assert SourceStatistics.load(tmp_path / "s.safetensors", {"columns": {}, "attention": []}).held_out is None


def test_norms_and_the_rows_of_the_confusion_come_back_and_may_be_missing(tmp_path):
    statistics, summary = made(), {"columns": {}, "attention": []}
    save_file(statistics.tensors(), tmp_path / "old.safetensors")
    old = SourceStatistics.load(tmp_path / "old.safetensors", summary)
    assert old.norms is old.confusion_rows is None
    statistics.norms = {f"trunk.{n}": Moments(torch.randn(3), torch.rand(3)) for n in ("norm", "blocks.0.norm_mlp")}
    statistics.confusion_rows = 40
    save_file(statistics.tensors(), tmp_path / "new.safetensors")
    new = SourceStatistics.load(tmp_path / "new.safetensors", summary)
    assert new.confusion_rows == 40
    assert set(new.norms) == set(statistics.norms)
    assert all(torch.equal(new.norms[name].std, norm.std) for name, norm in statistics.norms.items())


def test_an_output_without_classes_has_no_mix(tmp_path):
    statistics = made()
    statistics.label_mix = statistics.confusion = None
    save_file(statistics.tensors(), tmp_path / "s.safetensors")
    again = SourceStatistics.load(tmp_path / "s.safetensors", {"columns": {}, "attention": []})
    assert again.label_mix is again.confusion is None


@pytest.mark.parametrize(
    "summary", [{}, {"columns": {}}, {"columns": 3, "attention": []}, {"columns": {}, "attention": 3}]
)
def test_a_summary_that_does_not_fit_is_a_run_error(tmp_path, summary):
    save_file(made().tensors(), tmp_path / "s.safetensors")
    with pytest.raises(RunError, match="hold other statistics than expected"):
        SourceStatistics.load(tmp_path / "s.safetensors", summary)


def test_foreign_tensors_are_a_run_error(tmp_path):
    save_file({"layers.0.mean": torch.zeros(2)}, tmp_path / "s.safetensors")
    with pytest.raises(RunError, match=r"layers\.0\.std.* is missing"):
        SourceStatistics.load(tmp_path / "s.safetensors", {"columns": {}, "attention": []})


def test_columns_of_every_kind_are_described(tmp_path):
    cells = np.empty(4, dtype=object)
    cells[:] = [np.full((2, 2), level, dtype=np.float32) for level in (0.0, 0.2, 0.4, 0.6)]
    frame = pd.DataFrame(
        {
            "n": [0.0, 1.0, 2.0, np.nan],
            "c": pd.Series(["x", "x", "y", None], dtype=object),
            "t": pd.Series(["one", "three", None, "seven"], dtype=object),
            "i": cells,
            "e": [np.nan] * 4,
        }
    )
    kinds = {"n": "number", "c": "category", "t": "text", "i": "image", "e": "number"}
    schema = Schema(tuple(InputSpec(name, kind, (name,)) for name, kind in kinds.items()), ("y",), "label")
    found = describe_columns(frame, schema)
    assert found["n"]["quantiles"] == pytest.approx([0.1, 0.5, 1.0, 1.5, 1.9])
    assert found["n"]["missing"] == 0.25
    assert len(found["n"]["grid"]) == 21
    assert found["c"]["shares"] == {"x": pytest.approx(2 / 3), "y": pytest.approx(1 / 3)}
    assert found["t"]["quantiles"][2] == 5.0, "a missing text has no length"
    assert found["t"]["missing"] == 0.25
    assert found["i"]["quantiles"][2] == pytest.approx(0.3)
    assert found["e"] == {"input": "e", "kind": "number", "missing": 1.0, "quantiles": [], "grid": []}
    empty = describe_columns(frame.iloc[:0], schema)
    assert empty["n"]["grid"] == []
    assert empty["c"]["shares"] == {}


def test_the_commonest_categories_keep_their_names_and_the_others_count_together():
    names = [f"k{i:03d}" for i in range(200)]
    frame = pd.DataFrame({"c": [*names, *names[:NAMED], *names[:NAMED]]})
    schema = Schema((InputSpec("c", "category", ("c",)),), ("y",), "label")
    shares = describe_columns(frame, schema)["c"]["shares"]
    assert set(shares) == {*names[:NAMED], OTHER}
    assert shares[OTHER] == pytest.approx(150 / 300)
    assert sum(shares.values()) == pytest.approx(1)


def test_label_shares_by_hand():
    shares = label_shares(torch.tensor([0, 0, 1]), 3)
    torch.testing.assert_close(shares, torch.tensor([2.5, 1.5, 0.5]) / 4.5)


def test_merged_summaries_are_near_those_of_all_rows():
    rng = np.random.default_rng(0)
    schema = Schema((InputSpec("x", "number", ("x",)), InputSpec("c", "category", ("c",))), ("y",), "label")
    one = pd.DataFrame({"x": rng.normal(size=600), "c": rng.choice(list("ab"), 600)})
    two = pd.DataFrame({"x": 5 + rng.normal(size=200), "c": rng.choice(list("bc"), 200)})
    one.loc[:59, "x"] = np.nan
    both = pd.concat([one, two], ignore_index=True)
    found = merged_columns(describe_columns(one, schema), describe_columns(two, schema), 600, 200)
    expected = describe_columns(both, schema)
    assert found["x"]["missing"] == pytest.approx(expected["x"]["missing"])
    np.testing.assert_allclose(found["x"]["quantiles"], expected["x"]["quantiles"], atol=0.25)
    np.testing.assert_allclose(found["x"]["grid"][1:-1], expected["x"]["grid"][1:-1], atol=0.4)
    assert found["c"]["shares"] == pytest.approx(expected["c"]["shares"])
    assert found["x"].keys() == expected["x"].keys()


def test_a_column_without_values_merges_too():
    schema = Schema((InputSpec("x", "number", ("x",)),), ("y",), "label")
    empty, full = pd.DataFrame({"x": [np.nan] * 3}), pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    summaries = [describe_columns(frame, schema) for frame in (empty, full)]
    merged = merged_columns(*summaries, 3, 3)
    assert merged["x"]["missing"] == 0.5
    assert merged["x"]["quantiles"][2] == pytest.approx(2.0, abs=0.1)
    assert merged_columns(summaries[0], summaries[0], 3, 3)["x"]["grid"] == []


def test_many_categories_stay_bounded():
    schema = Schema((InputSpec("c", "category", ("c",)),), ("y",), "label")
    frames = [pd.DataFrame({"c": [f"{start + i}" for i in range(40)]}) for start in (0, 40)]
    shares = merged_columns(*(describe_columns(f, schema) for f in frames), 40, 40)["c"]["shares"]
    assert len(shares) == NAMED + 1
    assert shares[OTHER] == pytest.approx(30 / 80)
    assert sum(shares.values()) == pytest.approx(1)

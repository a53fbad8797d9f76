"""What `aet.elasticize` promises, for every architecture of the table."""

import copy
from functools import cache

import pytest
import torch

import aet
from aet.attention import ElasticState, applied
from aet.backbones.dials import AttentionDials
from aet.errors import NotElastic

from .architectures import CASES, REFUSED, Case

pytest.importorskip("transformers")

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)


@cache
def plain(case: Case):
    return case.build()


@cache
def elastic(case: Case):
    return aet.elasticize(copy.deepcopy(plain(case)))


def state(case: Case, seed: int = 0, only: str | None = None) -> ElasticState:
    """Every dial moved at random, or those of one name."""
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(elastic(case)).map(
        lambda name, dial: (
            0.3 * torch.randn(dial.shape, generator=generator) if only in (None, name.rpartition(".")[2]) else dial
        )
    )


def answer(model, inputs, moved: ElasticState | None = None) -> torch.Tensor:
    with torch.no_grad(), applied(moved):
        out = model(**inputs)
    if hasattr(out, "text_embeds"):
        return torch.cat([out.text_embeds, out.image_embeds], -1)
    pooled = getattr(out, "pooler_output", None)
    return out[0].flatten(1) if pooled is None else torch.cat([out[0].flatten(1), pooled], -1)


@pytest.fixture(autouse=True)
def ordinary_path():
    """PyTorch's fused attention rounds differently; what is fused before is compared on the ordinary path."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@every
def test_source_to_the_bit(case):
    inputs, model = case.inputs(), elastic(case)
    source = answer(plain(case), inputs)
    assert source.isfinite().all()
    assert torch.equal(answer(model, inputs), source)
    assert torch.equal(answer(model, inputs, ElasticState.zeros(model)), source)


@every
def test_a_child_without_tensors(case):
    assert list(elastic(case).state_dict()) == list(plain(case).state_dict())
    assert [n for n, _ in elastic(case).named_buffers()] == [n for n, _ in plain(case).named_buffers()]
    assert elastic(case).config.to_dict() == plain(case).config.to_dict()


@every
def test_each_kind_of_dial_moves(case):
    inputs, model = case.inputs(), elastic(case)
    source = answer(model, inputs)
    kinds = {name.rpartition(".")[2] for name in ElasticState.zeros(model)}
    assert kinds >= {"q_scale", "k_scale", "v_scale", "v_shift", "log_beta", "log_gate", "scale"}
    assert "k_shift" not in kinds
    assert ("q_shift" in kinds) != case.rotary
    for kind in kinds:
        assert (answer(model, inputs, state(case, only=kind)) - source).abs().max() > 1e-5, kind


@every
def test_every_layer_has_dials_that_move(case):
    inputs, model = case.inputs(), elastic(case)
    source, moved = answer(model, inputs), state(case)
    layers = {name.rpartition(".")[0] for name in moved if name.endswith("log_beta")}
    assert len(layers) == case.layers
    for layer in layers:
        # Where keys are few and alike, a layer hardly feels its temperature: the value moves it.
        alone = moved.select(lambda name, layer=layer: name == f"{layer}.v_scale")
        assert not torch.equal(answer(model, inputs, alone), source), layer


@every
def test_a_state_a_row(case):
    inputs, model = case.inputs(), elastic(case)
    states = [state(case, seed) for seed in range(2)]
    index = torch.tensor([1, 0, 1])
    mixed = answer(model, inputs, ElasticState.stack(states).rows(index))
    for row, which in enumerate(index.tolist()):
        own = answer(model, inputs, states[which])
        assert torch.allclose(mixed[row], own[row], atol=1e-5), (mixed[row] - own[row]).abs().max()
    assert not torch.allclose(mixed[0], answer(model, inputs, states[0])[0], atol=1e-3)


@every
def test_merged(case):
    inputs, moved = case.inputs(), state(case)
    merged = aet.merge(elastic(case), moved)
    assert not any(part._forward_hooks or "forward" in vars(part) for part in merged.modules())
    assert not any(name.endswith("elastic") for name, _ in merged.named_modules())
    wanted = answer(elastic(case), inputs, moved)
    assert torch.allclose(answer(merged, inputs), wanted, atol=1e-5), (answer(merged, inputs) - wanted).abs().max()
    assert (answer(elastic(case), inputs) - wanted).abs().max() > 1e-3  # and it was not the source


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.rotary and c.kind != "image" and c.model != "EsmModel"], ids=lambda case: case.model
)
def test_scores_depend_on_the_distance_alone(case):
    inputs, model, moved = case.inputs(), elastic(case), state(case)
    here, there = (torch.arange(6).expand(3, -1) + start for start in (0, 9))
    apart = answer(model, {**inputs, "position_ids": there}, moved)
    assert torch.allclose(answer(model, {**inputs, "position_ids": here}, moved), apart, atol=2e-5)
    # Had each channel a scale of its own, they would not.
    loose = copy.deepcopy(model)
    layers = [part for part in loose.modules() if isinstance(part, AttentionDials)]
    for layer in layers:
        layer.columns, layer.elastic_name = None, "loose"
    scales = {f"loose.{dial}": torch.zeros(shape) for dial, shape in layers[0].dial_shapes().items()}
    scales["loose.q_scale"][..., 0] = 2.0
    first, second = (answer(loose, {**inputs, "position_ids": ids}, ElasticState(scales)) for ids in (here, there))
    assert not torch.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("case", [c for c in CASES if c.generates], ids=lambda case: case.model)
def test_cached_generation(case):
    inputs, model, moved = case.inputs(), elastic(case), state(case)
    inputs.pop("decoder_input_ids", None)
    asked = {
        "max_new_tokens": 4,
        "min_new_tokens": 4,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_logits": True,
    }
    with applied(moved):
        cached, again = (model.generate(**inputs, **asked, use_cache=use) for use in (True, False))
    source = model.generate(**inputs, **asked)
    assert torch.equal(cached.sequences, again.sequences)
    assert torch.allclose(torch.stack(cached.logits), torch.stack(again.logits), atol=1e-4)
    assert not torch.allclose(torch.stack(cached.logits), torch.stack(source.logits), atol=1e-3)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.model)
def test_what_cannot_be_reached_is_refused_and_left_alone(case):
    model = case.build()
    before = {name: type(part) for name, part in model.named_modules()}
    with pytest.raises(NotElastic, match=r"do not reach: .*layer"):
        aet.elasticize(model)
    assert {name: type(part) for name, part in model.named_modules()} == before
    assert not any(part._forward_hooks for part in model.modules())

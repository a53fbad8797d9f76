"""The promise of speed: every cheap dial stays on the fused kernel."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from aet.attention.attend import attend
from aet.attention.decay import decay
from aet.attention.entropy import attention_entropy
from aet.attention.key_weights import key_weights
from aet.attention.low_rank import ConceptBias
from aet.attention.mechanisms import combine
from aet.attention.null_slot import attend_with_null_mass, null_slot

FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
MATH = "aten::_scaled_dot_product_attention_math"
B, H, T, D = 2, 4, 16, 8


def learned(*shape):
    return torch.rand(*shape, requires_grad=True)


DIALS = {
    "default": dict,
    "causal": lambda: {"causal": True},
    "inverse temperature": lambda: {"inverse_temperature": learned(H, 1, 1)},
    "gate": lambda: {"gate": learned(B, H, T, D)},
    "factors": lambda: {"query_factor": learned(H, T, 3), "key_factor": learned(T, 3)},
    "key weights": lambda: key_weights(learned(B, T)),
    "decay": lambda: decay(torch.rand(B, T), learned(H)),
    "concept bias": lambda: ConceptBias(5, H, 3, key_heads=1)(torch.randint(5, (B, T))),
    "null slot": null_slot,
    "learned null slot": lambda: null_slot(learned(H)),
    "bool bias": lambda: {"bias": torch.rand(B, 1, 1, T) > 0.3},
    "bias of three axes": lambda: {"bias": torch.rand(H, 1, T)},
    "bias and causal": lambda: {"bias": torch.rand(T, T), "causal": True},
    "weights and decay": lambda: combine(key_weights(learned(B, T)), decay(torch.rand(B, T), learned(H))),
}


def kernels(function):
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        function()
    return {event.key for event in profiler.key_averages()}


def make(heads=H, dtype=torch.float32):
    q = torch.randn(B, H, T, D, dtype=dtype, requires_grad=True)
    return q, *torch.randn(2, B, heads, T, D, dtype=dtype).unbind()


@pytest.mark.parametrize("name", DIALS)
@pytest.mark.parametrize("heads", [H, 1])
def test_dial_stays_on_the_fused_kernel(name, heads):
    q, k, v = make(heads)
    dials = DIALS[name]()
    used = kernels(lambda: attend(q, k, v, **dials).sum().backward())
    assert FLASH in used
    assert MATH not in used


def test_bfloat16_split_stays_on_the_fused_kernel():
    q, k, v = make(dtype=torch.bfloat16)
    assert FLASH in kernels(lambda: attend(q, k, v, **key_weights(torch.rand(B, T))))


@pytest.mark.parametrize("function", [attend_with_null_mass, lambda q, k, v: attention_entropy(q, k, causal=True)])
def test_one_fused_call_gives_mass_and_entropy(function):
    assert FLASH in kernels(lambda: function(*make()))


def test_a_bias_that_learns_leaves_the_fused_kernel():
    """The probe can see the other kernel; otherwise the tests above would prove nothing."""
    q, k, v = make()
    assert FLASH not in kernels(lambda: attend(q, k, v, bias=learned(T, T)))

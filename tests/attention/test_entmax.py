import pytest
import torch

from aet.attention.attend import attend
from aet.attention.entmax import LONGEST, Entmax, attend_entmax, entmax_weights
from aet.attention.obvious import attend_obvious
from aet.errors import ConfigError

ALPHAS = [1.0, 1.2, 1.5, 1.75, 2.0, 2.25]


def rows():
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, 6, 8, dtype=torch.float64).unbind()


@pytest.mark.parametrize(
    ("alpha", "weights"),
    [(1.0, [0.0486, 0.3592, 0.5922]), (2.0, [0.0, 0.25, 0.75]), (1.5, [0.0, 0.326, 0.674])],
)
def test_known_values(alpha, weights):
    z = torch.tensor([-2.0, 0.0, 0.5])
    torch.testing.assert_close(entmax_weights(z, alpha), torch.tensor(weights), rtol=0, atol=5e-4)


@pytest.mark.parametrize("alpha", ALPHAS[1:])
def test_solves_its_equation(alpha):
    z = torch.randn(5, 7, dtype=torch.float64) * 2
    p = entmax_weights(z, alpha)
    torch.testing.assert_close(p.sum(-1), torch.ones(5, dtype=torch.float64))
    # Inside the support (α-1)z - p^{α-1} is one number τ a row, and outside (α-1)z stays below it.
    tau = ((alpha - 1) * z - p ** (alpha - 1)).masked_fill(p == 0, torch.nan)
    spread = tau.nan_to_num(-torch.inf).amax(-1) - tau.nan_to_num(torch.inf).amin(-1)
    assert spread.abs().max() < 1e-6
    below = ((alpha - 1) * z).masked_fill(p > 0, -torch.inf).amax(-1)
    assert (below <= tau.nan_to_num(-torch.inf).amax(-1) + 1e-6).all()


def test_alpha_one_is_softmax():
    q, k, v = rows()
    assert torch.equal(attend_entmax(q, k, v, alpha=1.0), attend_obvious(q, k, v))
    heads = torch.tensor([1.0, 1.3, 1.0, 1.9], dtype=torch.float64).view(4, 1, 1)
    out = attend_entmax(q, k, v, alpha=heads)
    plain = attend(q, k, v)
    torch.testing.assert_close(out[:, [0, 2]], plain[:, [0, 2]], rtol=0, atol=1e-12)
    for head in (1, 3):
        alone = attend_entmax(q, k, v, alpha=heads[head].item())[:, head]
        torch.testing.assert_close(out[:, head], alone, rtol=0, atol=1e-10)
        assert (out[:, head] - plain[:, head]).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("alpha", [*ALPHAS, torch.tensor([[1.4]])])
def test_hidden_keys_are_as_if_absent(alpha, dtype):
    alpha = alpha.to(dtype) if torch.is_tensor(alpha) else alpha
    z = torch.randn(3, 6, dtype=dtype, requires_grad=True)
    hidden = torch.tensor([False, True, False, False, True, False])
    p = entmax_weights(z.masked_fill(hidden, -torch.inf), alpha)
    short = entmax_weights(z[:, ~hidden], alpha)
    torch.testing.assert_close(p[:, ~hidden], short, rtol=0, atol=1e-6)
    assert torch.equal(p[:, hidden], torch.zeros(3, 2, dtype=dtype))
    p.pow(2).sum().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("alpha", [*ALPHAS, torch.tensor([[1.4]])])
def test_a_blind_row_is_zero(alpha):
    z = torch.zeros(2, 3)
    z[0] = -torch.inf
    z.requires_grad_()
    p = entmax_weights(z, alpha)
    torch.testing.assert_close(p, torch.tensor([[0.0] * 3, [1 / 3] * 3]))
    (p * torch.arange(3)).sum().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("alpha", [1.2, 1.5, 1.75])
def test_gradient_in_scores_and_alpha(alpha):
    torch.manual_seed(0)
    z = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    a = torch.full((2, 1), alpha, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(entmax_weights, (z, a), eps=1e-5)


def test_takes_the_dials_of_attend():
    q, k, v = rows()
    dials = {
        "inverse_temperature": 2.0,
        "gate": torch.rand(4, 1, 1).double(),
        "query_factor": torch.ones(1, 1).double(),
        "key_factor": torch.randn(6, 1).double(),
        "bias": torch.rand(6, 6) > 0.2,
        "null_slot": True,
    }
    out = attend_entmax(q, k, v, alpha=1.0, **dials)
    torch.testing.assert_close(out, attend(q, k, v, **dials), rtol=0, atol=1e-12)
    assert attend_entmax(q, k[:, :2], v[:, :2], causal=True).shape == q.shape


def test_is_sparse_and_learns_alpha():
    q, k, v = rows()
    focus = Entmax(heads=4, alpha=1.7).double()
    torch.testing.assert_close(focus.alpha, torch.full((4, 1, 1), 1.7, dtype=torch.float64))
    assert (entmax_weights(3 * q @ k.mT, focus.alpha) == 0).float().mean() > 0.3
    focus(q, k, v).pow(2).sum().backward()
    assert (focus.raw.grad.abs() > 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entmax_weights(torch.zeros(LONGEST + 1)), "at most 1024 keys, got 1025"),
        (lambda: entmax_weights(torch.zeros(3), 0.5), "alpha is 0.5"),
        (lambda: entmax_weights(torch.zeros(3), torch.tensor([torch.nan])), "alpha is nan"),
        (lambda: Entmax(heads=2, alpha=2.5), "1 <= alpha <= 2"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ConfigError, match=message):
        call()

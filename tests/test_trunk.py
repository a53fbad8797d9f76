"""The trunk: what masks, order, taps and states do to it."""

import pytest
import torch

from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.trunk import Trunk

DIM = 8


def trunk(dtype=torch.float64, depth=2):
    torch.manual_seed(0)
    made = name_elastic(Trunk(DIM, depth, 2)).to(dtype).eval()
    torch.nn.init.normal_(made.pool.score)
    return made


def tokens(rows=3, count=5):
    return torch.randn(rows, count, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def noise(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(module).map(lambda _, t: 0.3 * torch.randn(t.shape, generator=generator, dtype=t.dtype))


def test_padding_is_never_read():
    x = tokens()
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])
    expected = trunk()(x, mask)
    for fill in (0.0, 1e6):
        torch.testing.assert_close(trunk()(x.masked_fill(~mask[..., None], fill), mask), expected)
    torch.testing.assert_close(trunk()(x[1:2, :3])[0], expected[1])
    torch.testing.assert_close(trunk()(x[2:, :1])[0], expected[2])


def test_the_order_of_tokens_and_of_rows_does_not_matter():
    x = tokens()
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(trunk()(x[:, order]), trunk()(x))
    torch.testing.assert_close(trunk()(x[[2, 0, 1]]), trunk()(x)[[2, 0, 1]])
    torch.testing.assert_close(trunk()(x[1:2])[0], trunk()(x)[1])


def test_taps_are_each_block_s_tokens_and_the_summary():
    taps = []
    summary = trunk()(tokens(), taps=taps)
    assert [tuple(tap.shape) for tap in taps] == [(3, 5, DIM), (3, 5, DIM), (3, 1, DIM)]
    assert torch.equal(taps[-1][:, 0], summary)
    torch.testing.assert_close(trunk().blocks[0](tokens()), taps[0])


def test_zero_state_is_the_source():
    with applied(ElasticState.zeros(trunk())):
        moved = trunk()(tokens())
    torch.testing.assert_close(moved, trunk()(tokens()), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_merged_is_applied(dtype, tolerance):
    made, x = trunk(dtype), tokens().to(dtype)
    with applied(noise(made)):
        expected = made(x)
    torch.testing.assert_close(merge(made, noise(made))(x), expected, rtol=0, atol=tolerance)


def test_each_row_may_have_its_own_state():
    made, x = trunk(), tokens(4)
    states, index = [noise(made, seed) for seed in range(3)], torch.tensor([1, 0, 2, 1])
    with applied(ElasticState.stack(states).rows(index)):
        together, looks = made(x), made.focus(x)
    for row, which in enumerate(index.tolist()):
        with applied(states[which]):
            torch.testing.assert_close(together[row], made(x[row : row + 1])[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(looks[row], made.focus(x[row : row + 1])[0], rtol=0, atol=1e-12)


def test_focus_by_hand_for_one_block():
    made, x = trunk(depth=1), tokens()
    block = made.blocks[0]
    weights = block.attention.weights(block.norm_attention(x)).mean(1)
    _, pooled = made.pool(made.norm(block(x)))
    expected = torch.einsum("bt,bts->bs", pooled, 0.5 * (weights + torch.eye(5)))
    torch.testing.assert_close(made.focus(x), expected)
    torch.testing.assert_close(made.focus(x).sum(1), torch.ones(3, dtype=torch.float64))


def test_no_rows_give_no_summaries():
    assert trunk()(torch.empty(0, 5, DIM, dtype=torch.float64)).shape == (0, DIM)


def test_a_narrow_expansion_keeps_one_channel():
    assert Trunk(4, 1, 2, expansion=0.01)(torch.randn(2, 3, 4)).shape == (2, 4)


def test_gradients_reach_every_weight():
    made = trunk()
    made(tokens()).square().sum().backward()
    # The key's bias adds the same number to every score of a query, which the softmax takes away again.
    for name, p in made.named_parameters():
        slope = p.grad.view(3, DIM)[[0, 2]] if name.endswith("qkv.bias") else p.grad
        assert slope.abs().max() > 1e-9, name

"""A network's hidden states: what is padded, sorted and left out changes no answer."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aet.attention.layer import ElasticNorm, watched_norms
from aet.attention.state import ElasticState, applied, name_elastic
from aet.inputs.backbone import PACK, Backbone
from aet.training.loop import parameter_groups

WIDTH = 4


class Network(nn.Module):
    """Mixes the pieces of a text, as attention does, and counts what it is asked."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, WIDTH)
        self.norm = ElasticNorm(WIDTH)
        self.dropout = nn.Dropout(0.5)
        self.asked = []

    def forward(self, input_ids, attention_mask):
        self.asked.append(tuple(input_ids.shape))
        mask = attention_mask[..., None].float()
        tokens = self.dropout(self.embedding(input_ids))
        mean = (tokens * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return SimpleNamespace(last_hidden_state=self.norm(tokens + mean))


def made(window=6, **settings):
    torch.manual_seed(0)
    box = name_elastic(nn.ModuleDict({"part": Backbone(Network(), WIDTH, window, **settings)})).eval()
    return box, box["part"]


def rows(*lengths, window=6):
    torch.manual_seed(1)
    mask = torch.arange(window) < torch.tensor(lengths)[:, None]
    return torch.randint(1, 30, mask.shape) * mask, mask


def test_each_text_is_as_if_it_came_alone():
    _, part = made()
    ids, mask = rows(3, 6, 1, 4)
    together = part(ids, mask)
    for row, length in enumerate((3, 6, 1, 4)):
        alone = part(ids[row : row + 1, :6], mask[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone)
        assert (together[row, length:] == 0).all()
        assert (together[row, :length] != 0).any(1).all()


def test_texts_are_padded_to_the_longest_they_pass_with():
    _, part = made()
    ids, mask = rows(*[2] * PACK, *[5] * PACK)
    part(ids.flip(0), mask.flip(0))
    assert part.module.asked == [(PACK, 2), (PACK, 5)]


def test_who_watches_norms_sees_them_once():
    _, part = made()
    seen = []
    with watched_norms(lambda norm, x, plain, mask: seen.append(x.shape) or plain):
        part(*rows(*[2] * PACK, *[5] * PACK))
    assert seen == [(2 * PACK, 5, WIDTH)]


def test_windows_without_pieces_are_left_out():
    _, part = made(window=3)
    ids, mask = rows(2, 6, 3)
    hidden = part(ids, mask)
    assert sum(asked[0] for asked in part.module.asked) == 4
    torch.testing.assert_close(hidden[1, 3:], part(ids[1:2, 3:], mask[1:2, 3:])[0])


@pytest.mark.parametrize(("count", "length"), [(0, 6), (2, 0)])
def test_nothing_to_read_gives_nothing(count, length):
    _, part = made()
    hidden = part(*rows(*[length] * count)) if count else part(torch.zeros(0, 6).long(), torch.zeros(0, 6).bool())
    assert hidden.shape == (count, 6, WIDTH)
    assert not hidden.any()
    assert not part.module.asked


def test_a_batched_state_follows_its_rows_through_sorting_and_windows():
    box, part = made(window=3)
    ids, mask = rows(6, 2, 4, 6, 1)
    generator = torch.Generator().manual_seed(2)
    states = [
        ElasticState.zeros(box).map(lambda _, t: 0.5 * torch.randn(t.shape, generator=generator)) for _ in range(5)
    ]
    with applied(ElasticState.stack(states).rows(torch.arange(5))):
        together = part(ids, mask)
    for row, state in enumerate(states):
        with applied(state):
            torch.testing.assert_close(together[row], part(ids[row : row + 1], mask[row : row + 1])[0])
    assert not torch.allclose(together, part(ids, mask))


def test_a_frozen_network_keeps_its_weights_and_has_no_dropout():
    box, part = made(freeze=True)
    box.train()
    ids, mask = rows(3, 6)
    assert torch.equal(part(ids, mask), part(ids, mask))
    assert not part(ids, mask).requires_grad
    with applied(ElasticState.zeros(box).trainable()):
        assert part(ids, mask).requires_grad, "dials move whatever is frozen"
    thawed = made()[0].train()
    assert not torch.equal(thawed["part"](ids, mask), thawed["part"](ids, mask))


def test_its_weights_take_a_share_of_the_rate():
    box, part = made(rate=0.05)
    model = nn.ModuleDict({"inputs": box, "head": nn.Linear(WIDTH, 2)})
    groups = parameter_groups(model, 0.1)
    found = {p: (group.get("scale", 1.0), group["weight_decay"]) for group in groups for p in group["params"]}
    assert found[part.module.embedding.weight] == (0.05, 0.1)
    assert found[part.module.norm.weight] == (0.05, 0.0)
    assert found[model["head"].weight] == (1.0, 0.1)
    assert len(found) == len(list(model.parameters()))


def test_a_frozen_network_is_not_the_optimisers():
    model = nn.ModuleDict({"inputs": made(freeze=True, rate=0.05)[0], "head": nn.Linear(WIDTH, 2)})
    groups = parameter_groups(model, 0.1)
    assert [len(group["params"]) for group in groups] == [1, 1]
    assert all("scale" not in group for group in groups)

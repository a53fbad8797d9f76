"""What neighbours tell, held against the formula written out."""

import torch

from aet.graph.cells import Cell
from aet.graph.neighbours import Neighbours, links


def value(column, place, name):
    return Cell("category0", column, place, frozenset({name, f"c{column}"}), frozenset({name}))


HERE = [value(0, 2, "x"), value(0, 3, "y"), value(0, 4, "z"), value(1, 7, "x"), value(1, 8, "w")]
EDGES = [("x", "near", "y", 1.0), ("x", "near", "w", 3.0), ("z", "in", "group", 1.0), ("y", "in", "group", 1.0)]
SIZE, DIM = 10, 3


def made():
    torch.manual_seed(0)
    return Neighbours(links(HERE, EDGES, SIZE), SIZE, DIM).double()


def test_links():
    found = links(HERE, EDGES, SIZE)
    told = {}
    for to, of, relation, share in zip(found.to, found.of, found.relation, found.share, strict=True):
        told.setdefault((to, found.relations[relation]), []).append((of, round(share, 3)))
    assert told == {
        (2, "near"): [(3, 0.25), (8, 0.75)],
        (7, "near"): [(3, 0.25), (8, 0.75)],
        (3, "near, back"): [(2, 1.0)],  # of the two columns that hold x, its own
        (8, "near, back"): [(7, 1.0)],
        (3, "in"): [(10, 1.0)],
        (4, "in"): [(10, 1.0)],
        (2, "shared node"): [(7, 1.0)],
        (7, "shared node"): [(2, 1.0)],
    }
    assert found.further == 1
    assert links(HERE, [("c0", "near", "c1", 1.0)], SIZE) is None


def test_formula():
    inform, table = made(), torch.randn(SIZE, DIM, dtype=torch.float64)
    assert torch.equal(inform(table), table)
    with torch.no_grad():
        inform.alpha.copy_(torch.tensor([0.1, -0.2, 0.3, 0.05]))
    a = dict(zip(inform.relations, (10 * inform.alpha).tolist(), strict=True))
    expected = table.clone()
    group = inform.further[0].detach()
    expected[2] += a["near"] * (0.25 * table[3] + 0.75 * table[8]) + a["shared node"] * table[7]
    expected[7] += a["near"] * (0.25 * table[3] + 0.75 * table[8]) + a["shared node"] * table[2]
    expected[3] += a["near, back"] * table[2] + a["in"] * group
    expected[8] += a["near, back"] * table[7]
    expected[4] += a["in"] * group
    torch.testing.assert_close(inform(table), expected)


def test_gradients():
    inform, table = made(), torch.randn(SIZE, DIM, dtype=torch.float64, requires_grad=True)
    inform(table).square().sum().backward()
    assert inform.alpha.grad.abs().min() > 0, "zero is where it starts, not where it stays"
    assert torch.equal(inform.further.grad, torch.zeros_like(inform.further))
    with torch.no_grad():
        inform.alpha.add_(0.1)

    def run(table, alpha, further):
        return torch.func.functional_call(inform, {"alpha": alpha, "further": further}, (table,))

    leaves = [p.detach().clone().requires_grad_() for p in (inform.alpha, inform.further)]
    assert torch.autograd.gradcheck(run, (table, *leaves), fast_mode=True)


def test_words():
    inform = made()
    assert inform.acted() == ""
    with torch.no_grad():
        inform.alpha[0] = 0.05
    assert inform.acted() == f"neighbours {inform.relations[0]} +0.50"

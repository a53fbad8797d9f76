"""A graph and rules brought to a model: which names they mean, and what of them the trunk and the inputs get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from aet.attention.chosen import own_draws
from aet.attention.relation_bias import Dense, GraphBias, LowRank, RelationBias, RuleBias
from aet.config import GraphConfig
from aet.errors import ConfigError
from aet.graph.cells import Cell, Concepts, cells
from aet.graph.edges import Edge
from aet.graph.names import suggestion, understood
from aet.graph.neighbours import Neighbours, links
from aet.graph.relations import RANK, related
from aet.graph.shuffle import shuffled
from aet.inputs.category import CategoryInput
from aet.trunk import Block, Trunk

if TYPE_CHECKING:
    from aet.model import Model


class Facts(nn.Module):
    """What is known of concepts, as mechanisms of attention read it.

    concepts (B, T) -> the relations of the tokens, by the name of the mechanism that reads them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[str, bool] = {}

    def add(self, name: str, near: np.ndarray, far: np.ndarray, cores: np.ndarray) -> None:
        """Relations as factors U (N, r), V (N, r) and G (C, r, r)."""
        self.forms[name] = True
        self.register_buffer(f"{name}_near", padded(near, 1))  # (N + 1, r)
        self.register_buffer(f"{name}_far", padded(far, 1))
        self.register_buffer(f"{name}_cores", torch.tensor(cores, dtype=torch.float32))

    def add_dense(self, name: str, pairs: np.ndarray) -> None:
        """Relations as they are, (C, N, N)."""
        self.forms[name] = False
        self.register_buffer(f"{name}_pairs", padded(np.moveaxis(pairs, 0, -1), 2))  # (N + 1, N + 1, C)

    def forward(self, concepts: Tensor) -> dict[str, LowRank | Dense]:
        """Relations by name."""
        found: dict[str, LowRank | Dense] = {}
        for name, low_rank in self.forms.items():
            if low_rank:
                near, far, cores = (self.get_buffer(f"{name}_{part}") for part in ("near", "far", "cores"))
                found[name] = LowRank(near[concepts], far[concepts], cores)
            else:
                pairs = self.get_buffer(f"{name}_pairs")
                found[name] = Dense(pairs[concepts[:, :, None], concepts[:, None, :]])
        return found


def padded(table: np.ndarray, axes: int) -> Tensor:
    """With a row of zeros before the first along the first axes: concept 0 is related to none."""
    return torch.tensor(np.pad(table, [(1, 0)] * axes + [(0, 0)] * (table.ndim - axes)), dtype=torch.float32)


def inform(model: Model) -> tuple[Concepts | None, dict[str, Any], list[str]]:
    """Bring the graph and the rules of a model's settings to its trunk and inputs, when their weights are made.

    Gives what tells the tokens' concepts, figures for the report, and what people should know.
    """
    config = model.config
    if config.graph is None and not config.rules:
        return None, {}, []
    every = cells(model.parts())
    speaks: set[str] = {rule[end] for rule in config.rules for end in ("from", "to")}
    edges: list[Edge] = []
    figures: dict[str, Any] = {}
    notes: list[str] = []
    if config.graph is not None:
        edges, figures, notes = understood(config.graph.edges, every)
        if config.graph.shuffled:
            edges, before = shuffled(edges, every, config.seed), edges
            if edges == before:
                notes.append("The graph cannot be shuffled: every permutation of its nodes gives the same graph.")
        speaks |= {name for e in edges for name in (e[0], e[2])}
    known = [cell for cell in every if cell.names & speaks]
    trunk, facts = model.trunk, Facts()
    with own_draws():
        if config.rules:
            add_rules(trunk, facts, config.rules, every, known)
        if config.graph is not None:
            figures |= add_graph(model, facts, config.graph, edges, known)
    if not facts.forms:
        return None, figures, notes
    trunk.facts = facts
    return Concepts(model.parts(), known), figures, notes


def add_rules(
    trunk: Trunk, facts: Facts, rules: Sequence[Mapping[str, Any]], every: Sequence[Cell], known: Sequence[Cell]
) -> None:
    """Each rule is a class of pairs of its own, of rank one: U marks who looks, V who is looked at."""
    names = frozenset[str]().union(*(cell.names for cell in every))
    near, far = np.zeros((2, len(known), len(rules)))
    cores = np.zeros([len(rules)] * 3)
    for number, rule in enumerate(rules):
        for end in ("from", "to"):
            if rule[end] not in names:
                raise ConfigError(
                    f"rules[{number}]: {end} names {rule[end]!r}, which is no input and no value of a category. "
                    f"{suggestion(rule[end], names)}"
                )
        near[:, number] = [rule["from"] in cell.names for cell in known]
        far[:, number] = [rule["to"] in cell.names for cell in known]
        cores[number, number, number] = 1.0
    titles = [f"{rule['from']} to {rule['to']}" for rule in rules]
    if twice := [title for title, often in Counter(titles).items() if often > 1]:
        raise ConfigError(f"rules: {twice[0]!r} stands twice. Expected each pair once: leave one out.")
    facts.add("rules", near, far, cores)
    starts, paces = ([rule[name] for rule in rules] for name in ("start", "weight"))
    add_bias(trunk, "rules", lambda heads: RuleBias(titles, heads, starts, paces))


def add_graph(
    model: Model, facts: Facts, settings: GraphConfig, edges: Sequence[Edge], known: Sequence[Cell]
) -> dict[str, Any]:
    """A bias between tokens, and neighbours for values; ConfigError if neither is left to do."""
    found = related(known, edges) if settings.bias != "none" and len(model.trunk.blocks) else None
    figures: dict[str, Any] = {"bias": "none", "neighbours": 0}
    if found is not None:
        classes, kept = found.classes, 1.0
        if settings.bias == "dense":
            facts.add_dense("graph", found.pairs)
        else:
            factors = found.factors(RANK)
            facts.add("graph", *factors)
            kept = found.kept(*factors)
        add_bias(model.trunk, "graph", lambda heads: GraphBias(classes, heads))
        figures |= {"bias": settings.bias, "classes": list(classes), "kept": round(kept, 4)}
    for name, part in model.parts() if settings.neighbours else ():
        if isinstance(part, CategoryInput):
            size = part.embedding.num_embeddings
            own = links([cell for cell in known if cell.part == name], edges, size)
            if own is not None:
                part.neighbours = Neighbours(own, size, model.dim)
                figures["neighbours"] += len(set(own.to))
    if found is None and not figures["neighbours"]:
        raise ConfigError(
            "The graph would do nothing: no two of its nodes can meet in a row within three edges, and no value has a "
            f"neighbour (graph.bias={settings.bias}, graph.neighbours={str(settings.neighbours).lower()}, model.depth="
            f"{len(model.trunk.blocks)}). Give edges between inputs or values, or leave graph out."
        )
    return figures


def add_bias(trunk: Trunk, name: str, made: Callable[[int], RelationBias]) -> None:
    """A mechanism in every block, made for its number of heads; ConfigError where there is no block."""
    if not len(trunk.blocks):
        raise ConfigError(
            f"{name} is a bias of attention, and there is no block to attend: expected model.depth of 1 or more, got "
            f"0. Set model.depth, or leave {name} out."
        )
    for block in trunk.blocks:
        assert isinstance(block, Block)
        block.attention.mechanisms[name] = made(block.attention.heads)

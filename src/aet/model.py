"""The model: inputs, trunk and output as one PyTorch module that also reads tables, saves and loads itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aet.answering import Answering
from aet.attention.beside import stand_beside
from aet.attention.chosen import own_draws
from aet.attention.state import ElasticState, active, applied, dial_axes, name_elastic, row_states
from aet.batch import Batch
from aet.cells import CELLS, TARGETS
from aet.config import Config
from aet.errors import ConfigError, DataError
from aet.graph.cells import Concepts
from aet.graph.edges import GraphWarning
from aet.grown import grow
from aet.inputs import INPUTS, Input
from aet.inputs.category import CategoryInput
from aet.inputs.gate import ColumnGate
from aet.last_place import last_place
from aet.members import MemberTrunk
from aet.outputs import OUTPUTS, Output
from aet.outputs.told import Told, telling
from aet.places import places_of
from aet.schema import Schema
from aet.sizes import sizes
from aet.statistics import SourceStatistics
from aet.trunk import Trunk, first_norm, worlds
from aet.wide import Wide, wide_members

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream
    from aet.training.reservoir import Reservoir
    from aet.training.update import Update

TABLE = "table"
"""The modality that numbers and categories make together."""
TOKENS = 32_768
"""Tokens that pass through the network at once when predicting: bounds the memory, however many columns there are."""


class Model(Answering, nn.Module):
    """Made by `aet.train` or `aet.load`.

    `model(batch)` is PyTorch's contract (logits); `predict`, `evaluate`, `save` and `stream` take tables.
    """

    statistics: SourceStatistics | None = None
    reservoir: Reservoir | None = None
    """Rows kept for updates."""
    knowing: Concepts | None
    """What tells the concepts of tokens, where a graph or rules are given."""
    fisher: dict[str, Tensor] | None = None
    """How much each weight matters to what was learned, kept for updates (the switch `ewc`)."""

    def __init__(self, schema: Schema, config: Config) -> None:
        super().__init__()
        self.dim, self.depth = sizes(config, schema.inputs)
        own = config.model.model_copy(update={"dim": self.dim, "depth": self.depth})
        self.schema, self.config = schema, config.model_copy(update={"model": own})
        self.report: dict[str, Any] = {}
        self.notes: list[str] = []
        self.knowing = None
        kinds = dict.fromkeys(spec.kind for spec in schema.inputs)
        self.inputs = nn.ModuleDict()
        for kind in kinds:
            bundles = INPUTS[kind].bundle([spec for spec in schema.inputs if spec.kind == kind])
            for number, specs in enumerate(bundles):
                self.inputs[f"{kind}{number}"] = INPUTS[kind](specs, self.dim)
        self.output: Output = OUTPUTS[schema.output].of(schema, self.dim, own)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def parts(self) -> Iterator[tuple[str, Input]]:
        """Inputs by name."""
        for name, part in self.inputs.items():
            assert isinstance(part, Input)
            yield name, part

    def fit_columns(self, frame: pd.DataFrame) -> Model:
        """Learn scales, vocabularies and classes from checked training rows, then make the weights."""
        for kind, settings in self.config.inputs.items():
            INPUTS[kind]  # a kind that does not exist is an error, one without columns here is none
            specs = [spec for spec in self.schema.inputs if spec.kind == kind]
            if specs:
                INPUTS[kind].check(specs, settings)
        self.output.fit(frame, self.config.output)
        target = self.output.encode(frame)
        for _, part in self.parts():
            if self.output.tokenizer is not None:
                part.share(self.output.tokenizer)
            part.fit_given(frame, self.config.inputs.get(part.kind, {}), target)
        self.build()
        if type(self.output).begin is not Output.begin:
            self.output.begin({name: part.encoded(frame) for name, part in self.parts()}, target)
        for note in self.notes:
            warnings.warn(note, GraphWarning, stacklevel=2)
        return self

    def build(self) -> Model:
        """Make the weights, once every size is known."""
        self.output.meet(dict(self.parts()))
        for _, part in self.parts():
            part.build()
        settings = self.config.model
        self.output.build(settings.members)
        if (table := self.output.embeddings) is not None:
            for _, part in self.parts():
                part.begin_with(table)
        shape = (
            self.dim,
            self.depth,
            settings.heads,
            settings.expansion,
            settings.dropout,
            settings.attention,
            settings.norm,
        )
        tokens = len(self.token_names())
        self.trunk = Trunk(*shape) if settings.members == 1 else MemberTrunk(settings.members, tokens, *shape)
        grow(self.trunk, settings.adapter, settings.prefix)
        if not first_norm(settings, self.schema.inputs):
            self.trunk.keep_sizes()
        summed = self.output.reads == "summary"
        wide = wide_members(settings, self.schema.inputs) if summed or settings.wide != "auto" else 0
        if wide:
            with own_draws():
                self.trunk.wide = Wide(wide, tokens, self.dim, settings.dropout)
        if self.output.reads in ("tokens", "steps"):
            self.trunk.pool = places_of(self, bool(wide))
        elif self.output.reads == "last":
            self.trunk.pool = last_place(self, str(TARGETS[self.output.kind].reads), bool(wide))
        elif (pooling := self.output.pooling(tokens)) is not None:
            self.trunk.pool = pooling
        cost = self.config.columns.gate
        self.gate = ColumnGate(self.owners(), self.dim, cost) if cost else None
        if self.config.graph is not None or self.config.rules:
            from aet.graph.known import inform  # it loads what only a graph needs

            self.knowing, self.report["graph"], self.notes = inform(self)
        return name_elastic(self)

    def owners(self) -> list[int]:
        """For each token the number of its input, counted over all parts."""
        found: list[int] = []
        for _, part in self.parts():
            tokens, inputs = len(part.token_names()), len(part.specs)
            first = max(found, default=-1) + 1
            found += [first + token * inputs // tokens for token in range(tokens)]
        return found

    def modalities(self) -> dict[str, list[int]]:
        """The tokens (their numbers) of each modality: an image, a text and the like by name, and the `table` of all
        numbers and categories.
        """
        found: dict[str, list[int]] = {}
        first = 0
        for _, part in self.parts():
            name = TABLE if part.kind in CELLS and CELLS[part.kind].plain else part.specs[0].name
            last = first + len(part.token_names())
            found.setdefault(name, []).extend(range(first, last))
            first = last
        return found

    def focus(self, source: Any) -> pd.DataFrame:
        """How much of each answer comes from each modality: `id`, and shares that sum to 1, of rows that can be used.

        Attention rollout through the trunk and its pooling (`Trunk.focus`). It says where the model looked, which is
        not yet why it answered so; of a wide path it knows nothing.
        """
        from aet.focus import focus

        pieces, start = [], 0
        for frame in self.pieces(source, 8192):
            checked = self.check(frame, first=start + 1)
            with evaluating(self):
                shares = focus(self, self.encode(checked.frame).to(self.device)).cpu()
            by_name = {name: shares[:, places].sum(1).numpy() for name, places in self.modalities().items()}
            ids = self.ids(checked, start, len(frame))[checked.kept]
            pieces.append(pd.DataFrame({"id": ids, **by_name}))
            start += len(frame)
        return pd.concat(pieces, ignore_index=True)

    def column_weights(self) -> dict[str, float]:
        """How much the column gate lets through of each input: 1 for an open one, 0 for one that is closed.

        Raises ConfigError for a model without a gate.
        """
        if self.gate is None:
            raise ConfigError(
                "This model has no column gate: expected columns.gate above 0, got 0. Train it with "
                "config={'columns': {'gate': 0.02}}."
            )
        names = [spec.name for _, part in self.parts() for spec in part.specs]
        return dict(zip(names, self.gate.weights().tolist(), strict=True))

    def token_names(self) -> list[str]:
        """One name a token, in the trunk's order."""
        return [name for _, part in self.parts() for name in part.token_names()]

    def encode(self, frame: pd.DataFrame, target: bool = False) -> Batch:
        """Checked rows as a batch on the CPU; with `target` also their groups, if `dynamic` is trained on them."""
        weight, group = self.schema.weight, self.schema.group
        known = target and self.trunk.dynamic is not None and group is not None and group in frame
        return Batch(
            values={name: part.encoded(frame) for name, part in self.parts()},
            target=self.output.encode(frame) if target else None,
            weight=torch.tensor(frame[weight].to_numpy(np.float32)) if weight and weight in frame else None,
            streams=torch.from_numpy(pd.factorize(frame[group])[0]) if known else None,
        )

    def tokens(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, T, dim) of all inputs and mask (B, T), None where every token is real."""
        simulating = self.training and self.trunk.dynamic is not None
        self.trunk.worlds = batch.streams if simulating else None
        with applied(self.simulated(batch) if simulating else active()):
            alone = len(self.inputs) == 1
            read = [(part, batch.values[name]) for name, part in self.parts()]
            pairs = [part(values) if alone else part.tokens_of(values) for part, values in read]
        tokens = torch.cat([tokens for tokens, _ in pairs], 1)
        stand_beside(self.beside(batch))
        if self.gate is not None:
            tokens = self.gate(tokens)
        if all(mask is None for _, mask in pairs):
            return tokens, None
        masks = [tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if m is None else m for tokens, m in pairs]
        return tokens, torch.cat(masks, 1)

    def concepts(self, batch: Batch) -> Tensor | None:
        """Numbers (B, T) of what the tokens hold, as a graph or rules speak of it; None without them."""
        return None if self.knowing is None else self.knowing(batch.values)

    def beside(self, batch: Batch) -> dict[str, Tensor]:
        """What the inputs know of their tokens, (B, T, ...) by name; 0 for tokens of inputs that do not know it."""
        known = [(len(part.token_names()), part.beside(batch.values[name])) for name, part in self.parts()]
        found: dict[str, Tensor] = {}
        for name, like in {name: figures[name] for _, figures in known for name in figures}.items():
            every = [f.get(name, like.new_zeros(len(like), count, *like.shape[2:])) for count, f in known]
            found[name] = torch.cat(every, 1)
        return found

    @torch.no_grad()
    def simulated(self, batch: Batch) -> ElasticState | None:
        """While training: the inputs' part of the state that a batch of one world (or several) calls for.

        `model.attention.dynamic` answers a share of the batches under an emitted state; this decides for the trunk too.
        """
        dynamic = self.trunk.dynamic
        assert dynamic is not None
        self.trunk.emits = float(torch.rand(())) < dynamic.settings["share"]
        if active() is not None or not self.trunk.emits or not len(batch):
            return active()
        index = worlds(batch.streams, len(batch))
        states = [self.realigned(batch[index == world].values) for world in range(int(index.max()) + 1)]
        return states[0] if len(states) == 1 else ElasticState.stack(states).rows(index)

    def realigned(self, values: Mapping[str, Tensor]) -> ElasticState:
        """Input dials that bring these rows to the training rows' moments as far as `dynamic` trusts their number."""
        dynamic = self.trunk.dynamic
        assert dynamic is not None
        dials = {
            f"inputs.{name}.{dial}": dynamic.trust(len(values[name])) * tensor.to(self.device)
            for name, part in self.parts()
            if part.dial_shapes()
            for dial, tensor in part.realigned(values[name]).items()
        }
        return ElasticState(dials)

    def forward(self, batch: Batch, taps: list[Tensor] | None = None) -> Tensor:
        """Logits (B, width); `taps` collects activations as in `Trunk.forward`."""
        return self.from_tokens(*self.tokens(batch), batch, taps)

    def from_tokens(
        self, tokens: Tensor, mask: Tensor | None, batch: Batch, taps: list[Tensor] | None = None
    ) -> Tensor:
        """Logits (B, width) of a batch whose tokens (B, T, dim) were made last, or beside which `beside` stands."""
        with self.told(batch):
            return self.answered(self.trunk(tokens, mask, taps, concepts=self.concepts(batch)), batch)

    def answered(self, read: Tensor, batch: Batch) -> Tensor:
        """Logits (B, width) of what the trunk gives for a batch."""
        logits: Tensor = self.output(read)
        return self.output.beside(logits, batch.values)

    def told(self, batch: Batch) -> AbstractContextManager[None]:
        """Within the context an output that answers step by step knows the pieces and answers of these rows."""
        if self.output.reads != "steps":
            return nullcontext()
        pieces = []
        for name, part in self.parts():
            values, places = batch.values[name], len(part.token_names())
            own = part.pieces_shared(values)
            pieces.append(torch.full((len(values), places), -1, device=values.device) if own is None else own)
        return telling(Told(torch.cat(pieces, 1), batch.target))

    @torch.no_grad()
    def logits(self, batch: Batch, rows: int | None = None) -> Tensor:
        """Logits of any number of rows, in evaluation mode, `rows` at a time (or `TOKENS` tokens); back on the CPU.

        Of an active state in its batched form each row takes its own; raises ConfigError if there is not one a row.
        """
        rows = rows or self.rows_at_once()
        states = row_states(self, self.dial_axes, len(batch))
        if not len(batch):
            return torch.empty(0, self.output.width)
        with evaluating(self):
            if len(batch) <= rows:  # most calls: cutting would copy rows and states
                with applied(active() if states is None else states):
                    whole: Tensor = self(batch.to(self.device)).cpu()
                return whole
            pieces = []
            for index in torch.arange(len(batch)).split(rows):
                with nullcontext() if states is None else applied(states.rows(index)):
                    pieces.append(self(batch[index].to(self.device)).cpu())
        return torch.cat(pieces)

    def rows_at_once(self) -> int:
        """How many rows pass through the network together when predicting."""
        return max(1, TOKENS // (len(self.token_names()) * self.config.model.members))

    @cached_property
    def dial_axes(self) -> dict[str, int]:
        """Axes of each dial by its name, that of rows aside; of a model that is built."""
        return dial_axes(self)

    def attention_acted(self) -> dict[str, str]:
        """What each mechanism of attention learned, in words; an empty text for one that learned nothing.

        That of a graph says what its neighbours are worth too.
        """
        found = self.trunk.acted()
        told = [
            part.neighbours.acted() for _, part in self.parts() if isinstance(part, CategoryInput) and part.neighbours
        ]
        if told:
            found["graph"] = "; ".join(filter(None, [*told, found.get("graph", "")]))
        return found

    def stream(self, **settings: Any) -> Stream:
        """A deployed flow of rows with its own elastic state; arguments as in `aet.adaptation.stream.Stream`."""
        from aet.adaptation.stream import Stream

        return Stream(self, **settings)

    def update(self, source: Any, **settings: Any) -> Update:
        """Learn new rows without forgetting the old, as a new model; arguments as in `aet.training.update.update`."""
        from aet.training.update import update

        return update(self, source, **settings)

    def save(self, folder: str | Path) -> Path:
        """Write the run folder."""
        from aet.run import save_model

        return save_model(self, Path(folder))

    def known_statistics(self) -> SourceStatistics:
        """The source statistics; raises DataError for a model that has none."""
        if self.statistics is None:
            raise DataError("This model has no source statistics. Train it with aet.train, or gather them first.")
        return self.statistics


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Within the context the model is in evaluation mode."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()

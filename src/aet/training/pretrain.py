"""Masked training of inputs and trunk: tokens are hidden, and the trunk's output must tell what stood behind them.

    x̃_t = m_t if hidden else x_t,    ŷ_t = W_i (o_t ⊙ (1 + g_t)) + b_t,    L = mean of l(ŷ_t, y_t) over hidden tokens t

o_t is the trunk's output at the place t; m_t, g_t and b_t are learned for each place, W_i for each input. A share of
each row's tokens is hidden, at least one. l is the mean squared error for figures (squashed numbers, pixels) and the
cross-entropy over log C for C classes (category values, text pieces). Masked columns as in SAINT (Somepalli et al.
2021, 2106.01342), patches as in SimMIM (Xie et al. 2022, 2111.09886) and MAE (He et al. 2022, 2111.06377), pieces as in
BERT (Devlin et al. 2019, 1810.04805), all with hidden tokens left in their places. Only inputs and trunk are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.batch import Batch
from aet.drift import drifted
from aet.errors import ConfigError
from aet.inputs import Input
from aet.model import Model
from aet.training import checkpoint
from aet.training.schedule import SCHEDULES

PRETRAINED = "pretrained.safetensors"
"""Where masked training stands, beside the checkpoint of the run."""


class Masked(nn.Module):
    """A model's inputs and trunk with heads that tell what stands behind hidden tokens.

    Raises ConfigError for rows of fewer than two tokens, where nothing is left to tell the hidden one from, and where
    no input can be hidden.
    """

    def __init__(self, model: Model, sample: Batch) -> None:
        super().__init__()
        self.model, dim = model, model.dim
        self.places = len(model.token_names())
        if not len(model.trunk.blocks):
            raise ConfigError(
                "Masked pretraining trains the trunk's blocks: expected model.depth of 1 or more, got 0. Set "
                "model.depth, or turn 'pretrain' off."
            )
        if self.places < 2:
            raise ConfigError(
                "Masked pretraining hides tokens and tells them from the others: expected rows of two tokens or more, "
                f"got {self.places}. Leave grouped columns apart, make image patches smaller, or turn 'pretrain' off."
            )
        widths = {name: found[1] for name, part in model.parts() if (found := part.behind(sample.values[name]))}
        if not widths:
            raise ConfigError("No input of this model can be hidden. Turn 'pretrain' off.")
        self.hidden = nn.Parameter(0.1 * torch.randn(self.places, dim))  # m
        self.gain = nn.Parameter(torch.zeros(self.places, dim))  # g
        self.heads = nn.ModuleDict({name: nn.Linear(dim, width, bias=False) for name, width in widths.items()})
        self.offsets = nn.ParameterDict(
            {n: torch.zeros(len(part.token_names()), widths[n]) for n, part in model.parts() if n in widths}
        )

    def spans(self) -> Iterator[tuple[str, Input, slice]]:
        """Each input and its places among the tokens."""
        start = 0
        for name, part in self.model.parts():
            stop = start + len(part.token_names())
            yield name, part, slice(start, stop)
            start = stop

    def choose(self, batch: Batch, share: float, generator: torch.Generator) -> Tensor:
        """Which tokens are hidden, (B, T): of those that can be asked for, at least one a row."""
        askable = []
        for name, part, span in self.spans():
            found = part.behind(batch.values[name])
            known = torch.zeros(len(batch), span.stop - span.start, dtype=torch.bool, device=self.hidden.device)
            if found is not None:
                y = found[0]
                known = ~y.isnan().all(-1) if y.is_floating_point() else y >= 0
            askable.append(known)
        able = torch.cat(askable, 1)  # (B, T)
        draw = torch.rand(able.shape, generator=generator).to(able.device).masked_fill(~able, 2.0)
        return ((draw < share) | (draw == draw.amin(1, keepdim=True))) & able

    def forward(self, batch: Batch, hidden: Tensor) -> Tensor:
        """Mean loss over the hidden tokens (B, T); 0 if there are none."""
        tokens, mask = self.model.tokens(batch)
        tokens = torch.where(hidden[..., None], self.hidden.to(tokens.dtype), tokens)
        taps: list[Tensor] = []
        self.model.trunk(tokens, mask, taps)  # without concepts, which would tell what is hidden
        seen = self.model.trunk.norm(taps[-2]) * (1 + self.gain)  # (B, T, dim)
        losses = []
        for name, part, span in self.spans():
            found = part.behind(batch.values[name])
            if found is None:
                continue
            row, place = hidden[:, span].nonzero(as_tuple=True)
            told = self.heads[name](seen[:, span][row, place]) + self.offsets[name][place]  # (hidden, width)
            losses.append(token_losses(told, found[0][row, place]))
        return torch.cat(losses).sum() / hidden.sum().clamp_min(1)


def token_losses(told: Tensor, wanted: Tensor) -> Tensor:
    """Loss of each hidden token (M,): squared error over known figures, or cross-entropy over log C.

    >>> token_losses(torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, torch.nan]])).tolist()
    [4.0]
    >>> round(float(token_losses(torch.zeros(1, 8), torch.tensor([3]))[0]), 4)
    1.0
    """
    if not wanted.is_floating_point():
        return F.cross_entropy(told, wanted, reduction="none") / math.log(max(told.shape[1], 2))
    known = ~wanted.isnan()
    errors = (told - wanted.nan_to_num(0.0)).square() * known
    return errors.sum(-1) / known.sum(-1).clamp_min(1)


def pretrain(
    model: Model, rows: Batch, epochs: int, share: float, lr: float, folder: Path | None = None
) -> list[float]:
    """Train inputs and trunk in place on rows without a target; the mean loss of each epoch.

    Batches are drifted as in training. Everything is drawn from the model's seed and the step; with a folder it goes on
    where it was interrupted, exactly.
    """
    config, device = model.config, model.device
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(config.seed)
        masked = Masked(model, rows[torch.arange(1)].to(device)).to(device)
        trained = [p for name, p in masked.named_parameters() if not name.startswith("model.output.")]
        optimiser = torch.optim.AdamW(trained, lr=lr, weight_decay=config.train.weight_decay)
        own = {"pretrain": {"epochs": epochs, "share": share, "lr": lr}, **config.model_dump()}
        mark = checkpoint.fingerprint(model, own, rows)
        path = folder / PRETRAINED if folder else None
        found = checkpoint.restore(path, masked, optimiser, mark) if path else None
        progress = found or checkpoint.Progress()
        a_epoch = -(-len(rows) // config.train.batch_size)
        was_training = model.training
        masked.train()
        for epoch in range(progress.epoch, epochs):
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(config.seed + 7919 * epoch))
            total = 0.0
            for number, index in enumerate(order.split(config.train.batch_size)):
                step = epoch * a_epoch + number
                draw = config.seed + 104_729 * step + 1
                torch.manual_seed(draw)
                generator = torch.Generator().manual_seed(draw)
                batch = drifted(model, rows[index], config.train.drift, generator).to(device)
                hidden = masked.choose(batch, share, generator)
                for group in optimiser.param_groups:
                    group["lr"] = lr * SCHEDULES["cosine"](step, epochs * a_epoch, config.train.warmup)
                loss = masked(batch, hidden)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(trained, config.train.clip)
                optimiser.step()
                total += float(loss.detach()) * len(index)
            progress.epoch = epoch + 1
            progress.history.append({"loss": total / len(rows)})
            if path:
                checkpoint.save(path, masked, optimiser, progress, mark)
        optimiser.zero_grad(set_to_none=True)
        model.train(was_training)
    return [record["loss"] for record in progress.history]

"""The training loop, readable from top to bottom.

Everything random is drawn from (seed, step), so a run that was interrupted and taken up again ends with the same bits
as one that was not.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from aet.batch import Batch
from aet.config import TrainConfig
from aet.drift import drifted, worlds
from aet.errors import ConfigError
from aet.model import Model
from aet.ranks import ranks
from aet.training import checkpoint
from aet.training import switches as _known  # noqa: F401 (they register themselves)
from aet.training.kept_tokens import kept_in_training
from aet.training.optimizers import make_optimizer, own_rate, own_schedule, to_average, to_train
from aet.training.schedule import SCHEDULES
from aet.training.switch import Pass, Run, Switch, refuse_unsuited, switched_on
from aet.training.tunings import tunings

CHECKPOINT = "checkpoint.safetensors"
SAVE_EVERY = 5.0
"""Seconds between checkpoints."""


def fit(
    model: Model,
    train: Batch,
    valid: Batch,
    folder: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None,
    more: Sequence[Switch] = (),
    frame: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place on encoded rows; returns one record an epoch, the best weights end up in the model.

    `more` are switches before those of the settings; a network that trains in part adds one (`tunings`). The learning
    rate of the run is then in `model.report`.

    The validation figure that decides is the mean of that on the rows as they are and on a drifted copy of them. Row
    weights are divided once by their mean over all training, or all validation, rows: weight 2 is the row given twice
    and weight 0 the row left out, whatever other rows happen to share a batch with it. `frame` are the training rows as
    checked, for switches that read them otherwise.
    """
    settings, seed = model.config.train, model.config.seed
    chosen, schedule = switched_on(settings.switches), SCHEDULES[own_schedule(settings)]
    switches = [*more, *tunings(model, chosen), *chosen]
    refuse_unsuited(switches, model)
    processes = ranks()
    device, monitor = pick_device(settings.device), monitored(settings, switches)
    lr = found_rate(model, train) if settings.lr == "auto" else own_rate(settings)
    rows_a_step = settings.batch_size * settings.accumulate
    steps_an_epoch = -(-len(train) // rows_a_step)
    mark = checkpoint.fingerprint(model, model.config.deciding(), train, valid)
    model.to(device)
    with own_random():
        torch.manual_seed(seed)
        for switch in switches:
            switch.prepare(model)
    trunk = torch.compile(model.trunk) if settings.compile else model.trunk
    optimiser = make_optimizer(settings, parameter_groups(model, settings.weight_decay))
    train, valid = replace(relative(train), positions=torch.arange(len(train))), relative(valid)
    path = folder / CHECKPOINT if folder else None
    worn = worlds(model, valid, settings.drift, torch.Generator().manual_seed(seed))
    saved = time.monotonic()

    def backward(terms: bool = False) -> Tensor:
        """Add the gradients of the current step's rows; the same draws each time it is called within a step."""
        total = torch.zeros((), device=device)
        before = taken_off(model) if processes.size > 1 else []
        for piece, index in enumerate(run.rows.split(settings.batch_size)):
            draw = seed + 104_729 * (run.step * settings.accumulate + piece)
            torch.manual_seed(draw)
            rows = processes.share(drifted(model, train[index], settings.drift, torch.Generator().manual_seed(draw)))
            if not len(rows):
                continue
            with autocast(device, settings.precision):
                loss = batch_loss(run, switches, trunk, rows.to(device), terms)
            (loss * (len(rows) / len(run.rows))).backward()
            total += loss.detach() * len(rows)
        total = processes.summed([p for p in model.parameters() if p.requires_grad], total)
        for p, grad in before:
            p.grad = grad if p.grad is None else p.grad + grad
        return total

    steps = settings.epochs * steps_an_epoch
    run = Run(model, optimiser, train, valid, steps, backward, switches=switches, frame=frame, folder=folder)
    with own_random(), kept_in_training(model, train, (valid, worn), settings.drift, settings.epochs):
        torch.manual_seed(seed)
        for switch in switches:
            switch.begin(run)
        progress = (path and checkpoint.restore(path, model, optimiser, mark, switches)) or checkpoint.Progress()
        for epoch in range(progress.epoch, settings.epochs):
            if progress.waited >= settings.patience:
                break
            started = time.monotonic()
            model.train()
            to_train(optimiser)
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed + 7919 * epoch))
            total = torch.zeros((), device=device)
            for number, run.rows in enumerate(order.split(rows_a_step)):
                run.step = epoch * steps_an_epoch + number
                rate = lr * schedule(run.step, run.steps, settings.warmup) * math.prod(s.rate(run) for s in switches)
                for group in optimiser.param_groups:
                    group["lr"] = rate * group.get("scale", 1.0)
                total += backward(terms=True)
                for switch in switches:
                    switch.gradient(run)
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                for switch in switches:
                    switch.stepped(run)

            processes.agree(model, epoch + 1)
            to_average(optimiser)
            loss_seen = float(total) / len(train)
            progress.epoch = epoch + 1
            progress.waited += 1
            with contextlib.ExitStack() as weights_to_keep:
                for switch in switches:
                    weights_to_keep.enter_context(switch.epoch(run))
                record: dict[str, Any] = {"epoch": epoch + 1, "loss": loss_seen, **validate(model, valid, worn)}
                if (loss := judged(record, monitor)) < progress.best:
                    progress.best, progress.waited = loss, 0
                    progress.weights = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
            if acted := {**{switch.name: switch.acted() for switch in switches}, **model.attention_acted()}:
                record["acted"] = acted
            progress.history.append({**record, "lr": rate, "seconds": round(time.monotonic() - started, 3)})
            on_epoch(progress.history[-1])
            for switch in switches:
                switch.validated(run, record)
            if path and (time.monotonic() - saved > SAVE_EVERY or epoch + 1 == settings.epochs):
                checkpoint.save(path, model, optimiser, progress, mark, switches)
                saved = time.monotonic()

    if not progress.weights:
        raise ConfigError(
            f"Training diverged: the validation loss was {progress.history[-1]['valid_loss']} in every epoch. Lower "
            f"train.lr (now {lr:g}) or train.drift (now {settings.drift:g})."
        )
    model.load_state_dict(progress.weights)
    for switch in switches:
        switch.end(run)
    for switch in switches:
        if not switch.acted():
            raise ConfigError(
                f"The switch {switch.name!r} was on and did nothing in {run.step + 1} steps with the settings "
                f"{switch.settings}. {switch.remedy(run)}"
            )
    for name, said in model.attention_acted().items():
        if not said:
            raise ConfigError(
                f"The mechanism {name!r} was on and did nothing in {run.step + 1} steps: it stands where it started. "
                "Turn it off, or train longer."
            )
    model.report["lr"] = lr
    model.to("cpu").eval()
    return progress.history


def found_rate(model: Model, train: Batch) -> float:
    """What the range finder chooses for `train.lr: auto`."""
    from aet.training.lr_range import find_lr  # it trains a copy, with `fit`

    lr = find_lr(model, train).lr
    logging.getLogger(__name__).info("train.lr = auto: the learning rate is %.3g", lr)
    return lr


def batch_loss(
    run: Run, switches: Sequence[Switch], trunk: Callable[..., Tensor], batch: Batch, terms: bool = True
) -> Tensor:
    """(1/B) Σ w_i l_i of one batch + Σ terms of the switches; weights are `relative`, `trunk` may be compiled.

    With a wide path half of it is that of the joint answer, half that of the parts, each of which answers for itself.
    """
    with run.model.told(batch):
        return told_loss(run, switches, trunk, batch, terms)


def told_loss(run: Run, switches: Sequence[Switch], trunk: Callable[..., Tensor], batch: Batch, terms: bool) -> Tensor:
    """`batch_loss`, where the output knows the batch."""
    assert batch.target is not None
    tokens, run.mask = run.model.tokens(batch)
    run.concepts = run.model.concepts(batch)
    for switch in switches:
        tokens = switch.tokens(run, tokens, batch)
    own = run.concepts

    def forward(tokens: Tensor, mask: Tensor | None, concepts: Tensor | None = own) -> Tensor:
        return run.model.answered(trunk(tokens, mask, concepts=concepts), batch)

    parts: list[Tensor] = []
    if run.model.trunk.wide is None:
        logits = forward(tokens, run.mask)
    else:
        logits = run.model.answered(trunk(tokens, run.mask, None, parts, own), batch)
    seen = Pass(batch, tokens, run.mask, logits, run.model.output.losses(logits, batch.target), forward)
    for switch in switches:
        seen.losses = switch.losses(run, seen)
    loss = seen.mean(seen.losses)
    if parts:
        alone = [seen.mean(seen.again(run, run.model.output.head(part))) for part in parts]
        loss = (loss + torch.stack(alone).mean()) / 2
    if run.model.gate is not None:
        loss = loss + run.model.gate.penalty()
    for switch in switches if terms else ():
        term = switch.term(run, seen)
        loss = loss if term is None else loss + term
    return loss


def taken_off(model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """The gradients that the weights have so far; they then have none."""
    held = [(p, p.grad) for p in model.parameters() if p.grad is not None]
    for p, _ in held:
        p.grad = None
    return held


def relative(batch: Batch) -> Batch:
    """The rows with weights whose mean is 1: w_i / mean(w). Weights that are all 0 stay so.

    >>> relative(Batch({"x": torch.zeros(3, 1)}, weight=torch.tensor([2.0, 0.0, 4.0]))).weight
    tensor([1., 0., 2.])
    """
    if batch.weight is None or not batch.weight.any():
        return batch
    weight = batch.weight.double()
    return replace(batch, weight=(weight / weight.mean()).to(batch.weight.dtype))


@torch.no_grad()
def validate(model: Model, valid: Batch, worn: Batch) -> dict[str, float]:
    """Loss and metric on the validation rows; `valid_loss` is the mean over the plain and the drifted copy."""
    assert valid.target is not None
    plain, moved = model.logits(valid).to(model.device), model.logits(worn).to(model.device)
    target = valid.target.to(model.device)
    weight = None if valid.weight is None else valid.weight.to(model.device)
    losses = [float(model.output.loss(logits, target, weight)) for logits in (plain, moved)]
    beliefs = [belief for z in (plain, moved) if (belief := model.output.belief(z, target)) is not None]
    known = {"valid_belief": float(mean_of(torch.stack(beliefs).mean(0), weight))} if beliefs else {}
    metric = model.output.metric
    return {
        "valid_loss": sum(losses) / 2,
        "valid_loss_plain": losses[0],
        "valid_metric": model.output.metrics(plain, target)[metric],
        "valid_metric_drifted": model.output.metrics(moved, target)[metric],
        **known,
    }


def mean_of(rows: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of a figure of each row (B,), each counted by its weight."""
    return rows.mean() if weight is None else (rows * weight).sum() / weight.sum().clamp_min(1e-12)


def monitored(settings: TrainConfig, switches: Sequence[Switch]) -> str:
    """What chooses the best epoch: `train.monitor`, or what the switches that are on ask for."""
    if settings.monitor != "auto":
        return settings.monitor
    wanted = {switch.monitors for switch in switches}
    return next((monitor for monitor in ("agreement", "metric") if monitor in wanted), "loss")


def judged(record: Mapping[str, float], monitor: str) -> float:
    """The figure of an epoch that is to be low; all kinds are means over the plain and the drifted copy.

    Where labels are wrong at random, accuracy and the mean probability of the label rank models on average as right
    labels would (Ghosh et al. 2017, 1712.09482: symmetric losses), the loss does not. On few rows accuracy comes in
    steps, which the probability fills; `agreement` is the mean of both.

    >>> record = {"valid_loss": 0.7, "valid_metric": 0.9, "valid_metric_drifted": 0.8, "valid_belief": 0.65}
    >>> judged(record, "metric"), judged(record, "agreement")
    (0.1499..., 0.25)
    """
    if monitor == "loss" or not math.isfinite(record["valid_loss"]):
        return record["valid_loss"]
    metric = (record["valid_metric"] + record["valid_metric_drifted"]) / 2
    return 1 - (metric + record.get("valid_belief", metric)) / 2 if monitor == "agreement" else 1 - metric


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The weights that train: matrices decay, vectors (biases, norms) do not.

    Those of a module with a `rate_scale` (a pretrained network) have groups of their own, whose learning rate the loop
    multiplies by their `scale`.
    """
    scales = {
        p: scale
        for module in model.modules()
        if isinstance(scale := getattr(module, "rate_scale", None), float)
        for p in module.parameters()
    }
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = []
    for scale in sorted({1.0, *scales.values()}, reverse=True):
        own = [p for p in trained if scales.get(p, 1.0) == scale]
        more = {} if scale == 1 else {"scale": scale}
        groups.append({"params": [p for p in own if p.ndim > 1], "weight_decay": weight_decay, **more})
        groups.append({"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0, **more})
    return [group for group in groups if group["params"] or "scale" not in group]


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA if there is any; ConfigError for a device that is not there."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"train.device={name!r} cannot be used ({str(error).splitlines()[0]}). Expected 'auto', 'cpu', or 'cuda' "
            "on a machine with a CUDA card."
        ) from error
    return device


def own_random() -> contextlib.AbstractContextManager[None]:
    """What is drawn inside leaves the generators of the program, on all devices, as they were."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where asked, or where it pays."""
    pays = device.type == "cuda" and torch.cuda.is_bf16_supported()
    wanted = precision == "bfloat16" or (precision == "auto" and pays)
    return torch.autocast(device.type, torch.bfloat16) if wanted else contextlib.nullcontext()

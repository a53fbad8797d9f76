"""Many switches at once: they train, go on exactly after an interruption, and take every output and precision."""

from dataclasses import replace

import pytest
import torch

from aet.training import loop
from aet.training.loop import fit

from ..loops import Interrupt, after, bits, figures, same
from .steps import made

ALL = {
    "mixup": {},
    "r_drop": {},
    "fgm": {},
    "stochastic_depth": {"rate": 0.5},
    "agc": {},
    "sam": {},
    "swa": {"share": 0.5},
    "layer_decay": {},
    "unfreeze": {"share": 0.5},
}


def together(output, **changes):
    return made(output, **{"epochs": 4, "batch_size": 5, "accumulate": 2, "depth": 2, "dropout": 0.1, **changes})


@pytest.mark.parametrize("output", ["multilabel", "number"])
def test_an_interrupted_run_goes_on_exactly(output, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    switches = ALL if output == "number" else {**ALL, "label_smoothing": {}}
    whole, batch = together(output, switches=switches)
    batch = replace(batch, weight=torch.arange(len(batch)) % 3.0)
    history = fit(whole, batch, batch)
    for epochs in (1, 3):
        model, _ = together(output, switches=switches)
        with pytest.raises(Interrupt):
            fit(model, batch, batch, tmp_path, after(epochs))
    model, _ = together(output, switches=switches)
    assert figures(fit(model, batch, batch, tmp_path)) == figures(history)
    assert same(bits(model), bits(whole))


@pytest.mark.parametrize("ours", [{"mixup": {}, "fgm": {}}, {"cutmix": {}, "pgd": {}}])
def test_in_bfloat16(ours):
    others = {name: settings for name, settings in ALL.items() if name not in ("mixup", "fgm")}
    model, batch = together("label", switches={**ours, **others, "label_smoothing": {}}, precision="bfloat16")
    history = fit(model, batch, batch)
    assert all(torch.isfinite(torch.tensor(record["loss"])) for record in history)
    assert all(t.dtype != torch.bfloat16 and t.isfinite().all() for t in model.state_dict().values())

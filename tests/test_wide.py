"""Single columns: the wide path, where it is built, what it adds, what it learns from; no first norm; older runs."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import aet
from aet.attention.layer import ElasticNorm
from aet.attention.norms import ElasticAffine
from aet.attention.state import ElasticState, applied, merge
from aet.config import Config, ModelConfig
from aet.errors import ConfigError
from aet.model import Model
from aet.run import own_sum, sha256
from aet.schema import infer
from aet.training.loop import batch_loss
from aet.training.switch import Run
from aet.wide import Wide

SMALL = {"dim": 16, "depth": 1, "heads": 2, "dropout": 0}


def table(rows=80, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    frame["city"] = rng.choice(["Oslo", "Rome"], rows)
    return frame.assign(y=np.where(frame["a"] * frame["b"] > 0, "up", "down"))


def made(groups=None, **model):
    frame = table()
    torch.manual_seed(0)
    built = Model(infer(frame, "y", groups=groups or {}), Config.read({"model": {**SMALL, **model}}))
    return built.fit_columns(frame).eval(), built.encode(frame, target=True)


def test_single_columns_have_it_and_groups_do_not():
    assert made()[0].trunk.wide.scales.shape[0] == 8
    assert made(wide=3)[0].trunk.wide.scales.shape[0] == 3
    assert made(wide=0)[0].trunk.wide is None
    assert made(members=2)[0].trunk.wide is None
    assert made(groups={"sensor": ["a", "b"]})[0].trunk.wide is None
    assert made(groups={"sensor": ["a", "b"]}, wide=2)[0].trunk.wide is not None


def test_it_does_not_change_what_the_rest_starts_from():
    plain, wide = made(wide=0)[0].state_dict(), made()[0].state_dict()
    assert all(torch.equal(tensor, wide[name]) for name, tensor in plain.items())


def test_the_summary_is_half_trunk_and_half_members():
    model, batch = made()
    tokens, mask = model.tokens(batch)
    parts: list[torch.Tensor] = []
    joint = model.trunk(tokens, mask, None, parts)
    summary, members = parts
    assert members.shape == (len(batch), 8, 16)
    torch.testing.assert_close(joint, 0.5 * summary[:, 0] + 0.5 * members.mean(1))
    without = copy.deepcopy(model)
    without.trunk.wide = None
    torch.testing.assert_close(summary[:, 0], without.trunk(tokens, mask))


def test_tokens_that_are_not_real_say_nothing():
    wide, tokens = Wide(2, tokens=3, dim=8), torch.randn(4, 3, 8)
    mask = torch.tensor([True, False, True]).expand(4, 3)
    other = torch.where(mask[..., None], tokens, 7.0)
    torch.testing.assert_close(wide(tokens, mask), wide(other, mask))
    assert not torch.allclose(wide(tokens), wide(other))


def test_the_loss_is_that_of_the_joint_answer_and_of_the_parts():
    model, batch = made()
    run = Run(model, torch.optim.SGD(model.parameters()), batch, batch, 1, lambda: torch.zeros(()))
    parts: list[torch.Tensor] = []
    joint = model.trunk(*model.tokens(batch), None, parts)
    joint, alone, members = (model.output.losses(model.output.head(p), batch.target).mean() for p in (joint, *parts))
    torch.testing.assert_close(batch_loss(run, [], model.trunk, batch), joint / 2 + alone / 4 + members / 4)


def test_the_inputs_dials_act_on_it_and_a_state_can_be_merged():
    model, batch = made()
    zero = ElasticState.zeros(model)

    def answers(active):
        with applied(active):
            return model.trunk.wide(model.tokens(batch)[0])

    for moved in ("inputs.number0", "trunk.wide"):
        state = zero.map(lambda name, t, moved=moved: t + 0.5 if name.startswith(moved) else t)
        assert not torch.allclose(answers(state), answers(zero))
        rows = ElasticState.stack([zero, state]).rows(torch.arange(len(batch)) % 2)
        torch.testing.assert_close(answers(rows)[1::2], answers(state)[1::2])
        torch.testing.assert_close(answers(rows)[::2], answers(zero)[::2])
    with applied(state):
        moved = model(batch)
    torch.testing.assert_close(merge(model, state)(batch), moved)


def test_a_path_beside_members_is_refused():
    with pytest.raises(ConfigError, match=r"model\.members=1 beside model\.wide=4, got 2"):
        made(members=2, wide=4)
    for wrong in (-1, "all", True, 0.5):
        with pytest.raises(ConfigError, match=rf"model\.wide={wrong!r} is not valid: .* 0 or more, or 'auto'"):
            Config.read({"model": {"wide": wrong}})
    assert ModelConfig().wide == "auto"


def test_the_first_block_reads_single_columns_at_their_own_size():
    def kinds(**model):
        return [type(block.norm_attention) for block in made(depth=2, **model)[0].trunk.blocks]

    assert kinds() == [ElasticAffine, ElasticNorm]
    assert kinds(groups={"sensor": ["a", "b"]}) == kinds(members=2) == kinds(first_norm=True) == [ElasticNorm] * 2
    assert kinds(groups={"sensor": ["a", "b"]}, first_norm=False) == [ElasticAffine, ElasticNorm]
    for ours, theirs in ((made(wide=0), made(wide=0, first_norm=True)), (made(), made(first_norm=True))):
        state = ours[0].state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in theirs[0].state_dict().items())
        assert not torch.allclose(ours[0](ours[1]), theirs[0](theirs[1]))


def test_dials_in_the_place_of_the_first_norm_act_row_by_row_and_can_be_merged():
    model, batch = made()
    zero = ElasticState.zeros(model)
    state = zero.map(lambda name, t: t + 0.5 if name.startswith("trunk.blocks.0.norm_attention") else t)
    with applied(state):
        moved = model(batch)
    assert torch.equal(model.trunk.blocks[0].norm_attention(torch.ones(1, 2, 16)), torch.ones(1, 2, 16))
    assert not torch.allclose(moved, model(batch))
    torch.testing.assert_close(merge(model, state)(batch), moved)
    with applied(ElasticState.stack([zero, state]).rows(torch.arange(len(batch)) % 2)):
        mixed = model(batch)
    torch.testing.assert_close(mixed[1::2], moved[1::2])
    torch.testing.assert_close(mixed[::2], model(batch)[::2])


def test_it_is_saved_and_a_run_from_before_it_still_loads(tmp_path):
    rows = table()
    for wide, norm in (("auto", "auto"), ("auto", True), (0, True)):
        folder = tmp_path / f"{wide}{norm}"
        config = {"model": {**SMALL, "wide": wide, "first_norm": norm}, "train": {"epochs": 1}}
        model = aet.train(rows, "y", out=folder, config=config)
        if norm is True:  # as one that knew of no choice was written
            settings = yaml.safe_load((folder / "config.yaml").read_text())
            del settings["model"]["first_norm"]
            if wide == 0:
                del settings["model"]["wide"]
            (folder / "config.yaml").write_text(yaml.safe_dump(settings))
            described = json.loads((folder / "schema.json").read_text())
            described["sha256"]["config.yaml"] = sha256(folder / "config.yaml")
            described["sha256"]["schema.json"] = own_sum(described)
            (folder / "schema.json").write_text(json.dumps(described))
        loaded = aet.load(folder)
        assert (loaded.trunk.wide is None) == (wide == 0)
        assert isinstance(loaded.trunk.blocks[0].norm_attention, ElasticNorm if norm is True else ElasticAffine)
        pd.testing.assert_frame_equal(loaded.predict(rows), model.predict(rows))

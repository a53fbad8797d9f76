"""Distillation: the loss by hand, other codes of the same classes, teachers that do not fit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import aet
from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switches.distill import Distill

from ...made import quick, signs
from ..loops import prepared


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that knows the signs."""
    path = tmp_path_factory.mktemp("teacher")
    aet.train(signs(300), "y", config=quick(8, lr=0.01), out=path)
    return path


def taught(folder, frame, epochs=2, **settings):
    """A student after a short run on a table."""
    return aet.train(frame, "y", config=quick(epochs), switches={"distill": {"teacher": str(folder), **settings}})


def test_the_loss_by_hand():
    output = prepared(signs(150))[0].output
    z, t = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    p, q = F.softmax(t / 2, -1), F.softmax(z / 2, -1)
    torch.testing.assert_close(output.distance(z, t, 2.0), 4 * (p * (p / q).log()).sum(-1))
    switch = Distill(teacher="x", weight=0.25)
    switch.taught = torch.cat([t, torch.full((1, 2), torch.nan)])
    batch = type("Rows", (), {"positions": torch.tensor([1, 0])})
    run = type("Run", (), {"model": type("Model", (), {"output": output})})
    seen = type("Pass", (), {"batch": batch, "logits": torch.cat([z, z]), "losses": torch.tensor([3.0, 3.0])})
    losses = switch.losses(run, seen)
    assert losses[0] == 3.0, "a row that the teacher cannot use keeps its own loss"
    assert float(losses[1]) == pytest.approx(0.75 * 3 + 0.25 * float(output.distance(z, t, 2.0)))


def test_the_teacher_reads_the_table_itself_and_its_classes_are_found_by_name(folder):
    """Rows in other units of fewer kinds, with columns in another order: encodings differ, answers do not."""
    teacher = aet.load(folder)
    frame = signs(100, seed=3)[["b", "y", "a"]]
    model = taught(folder, frame, weight=0.9)
    assert model.report["switches"][0]["acted"].count(" rows taught by one model, in ") == 1
    own = prepared(signs(150))[0]
    own.output.classes = own.output.classes[::-1]
    logits = torch.tensor([[0.0, 3.0]])
    heard = own.output.translated(teacher.output, logits)
    torch.testing.assert_close(heard, logits.flip(-1) / teacher.output.temperature)


def test_a_student_comes_nearer_to_its_teacher_than_it_gets_alone(folder):
    frame, test, teacher = signs(100, seed=5), signs(300, seed=6), aet.load(folder)
    alone = aet.train(frame, "y", config=quick(20))
    student = taught(folder, frame, epochs=20, weight=0.9)

    def apart(model):
        p, q = (m.predict(test, proba=True)["p_plus"] for m in (model, teacher))
        return float((p - q).abs().mean())

    assert apart(student) < 0.9 * apart(alone)


def test_an_ensemble_teaches_numbers(tmp_path):
    frame = signs(150).assign(y=lambda f: 1000 + 10 * f["a"])
    aet.train_ensemble(frame, "y", members=2, config=quick(6, lr=0.01), out=tmp_path)
    student = taught(tmp_path, frame.assign(y=frame["y"] + 0.0))
    assert "taught by 2 models" in student.report["switches"][0]["acted"]
    other = aet.train(frame.assign(y=frame["y"] * 2 - 500), "y", config=quick(1)).output
    teacher = aet.load(tmp_path / "member-0").output
    z = torch.tensor([[0.5, -1.0, 1.0]])
    np.testing.assert_allclose(other.natural(other.translated(teacher, z)[:, 0]), teacher.natural(z[:, 0]), rtol=1e-5)


def test_only_encoded_rows_need_a_teacher_that_reads_alike(folder):
    model, train, valid = prepared(signs(150), switches={"distill": {"teacher": str(folder)}})
    with pytest.raises(ConfigError, match="reads rows otherwise than this model"):
        fit(model, train, valid)


def test_teachers_that_do_not_fit(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be used.*is no run folder"):
        taught(tmp_path, signs())
    with pytest.raises(ConfigError, match=r"does not fit: Missing columns: 'b'"):
        taught(folder, signs().drop(columns="b"))
    frame = signs()
    frame.loc[:40, "y"] = "even"
    with pytest.raises(ConfigError, match=r"other classes of 'y'.*lacks \['even'\].*same 3 classes"):
        taught(folder, frame)
    with pytest.raises(ConfigError, match="same kind of output"):
        taught(folder, signs().assign(y=lambda f: f["a"]))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"teacher": ""}, "needs the setting teacher"),
        ({"weight": 1.0}, "weight"),
        ({"weight": 0.0}, "weight"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Distill(**{"teacher": "x", **settings})

"""Ray Train as the cluster door of `aet.train`: it starts the processes of `aet.ranks` on the machines of a cluster.

    from aet.training.on_ray import train_on_ray

    train_on_ray("/shared/rows.csv", "/shared/runs/gas", workers=4, target="gas")

What each process does is what `torchrun` starts: it reads the table, takes its share of the rows of every step, and
sums the gradients with the others; the first writes the run folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aet.errors import ConfigError
from aet.model import Model
from aet.optional import optional

EXTRA = "pip install 'attention-elastic-training[scale]'"


def train_on_ray(
    source: str | Path, out: str | Path, *, workers: int = 2, cuda: bool = False, cpus: float = 1.0, **given: Any
) -> Model:
    """`aet.train` by several processes on a Ray cluster; the model, as it lies in `out`.

    Args:
        source: a file that every machine reaches under this path.
        out: run folder, likewise; an interrupted run is taken up again.
        workers: processes.
        cuda: whether each gets a CUDA card.
        cpus: processors for each.
        given: other arguments of `aet.train`.

    Raises ConfigError for fewer than one process; what `aet.train` raises; MissingPackage without Ray.
    """
    torch_trainer = optional("ray.train.torch", "train_on_ray", EXTRA, "start it with `torchrun`").TorchTrainer
    train = optional("ray.train", "train_on_ray", EXTRA, "start it with `torchrun`")
    if workers < 1:
        raise ConfigError(f"A training takes 1 process or more; got workers={workers}.")
    rows, folder = str(Path(source).resolve()), Path(out).resolve()
    told = {**given, "out": str(folder)}

    def work() -> None:
        import aet

        aet.train(rows, **told)

    resources = {"CPU": cpus, **({"GPU": 1.0} if cuda else {})}
    scaling = train.ScalingConfig(num_workers=workers, use_gpu=cuda, resources_per_worker=resources)
    kept = train.RunConfig(name=folder.name, storage_path=str(folder.parent / "ray"))
    torch_trainer(work, scaling_config=scaling, run_config=kept).fit()

    from aet.run import load

    return load(folder)

"""aet: attention models that stay right after they are deployed.

>>> import aet
>>> aet.attend.__module__
'aet.attention.attend'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aet.adaptation.streams import build_stream
    from aet.attention.attend import attend
    from aet.backbones.elasticize import elastic_parameters, elasticize, merge
    from aet.backbones.wrap import wrap
    from aet.ensemble import Ensemble
    from aet.estimators import ElasticClassifier, ElasticRegressor
    from aet.event_rows import histories
    from aet.folder import predict_folder
    from aet.knowledge import Knowledge
    from aet.model import Model
    from aet.run import load
    from aet.scope import Scope
    from aet.selective import Selective
    from aet.series_windows import windows
    from aet.training.ensemble import train_ensemble
    from aet.training.train import train
    from aet.training.tune import tune

__version__ = "0.1.0"

_DOORS = {
    "attend": "aet.attention.attend",
    "build_stream": "aet.adaptation.streams",
    "elastic_parameters": "aet.backbones.elasticize",
    "elasticize": "aet.backbones.elasticize",
    "ElasticClassifier": "aet.estimators",
    "ElasticRegressor": "aet.estimators",
    "Ensemble": "aet.ensemble",
    "histories": "aet.event_rows",
    "Knowledge": "aet.knowledge",
    "Model": "aet.model",
    "Scope": "aet.scope",
    "Selective": "aet.selective",
    "load": "aet.run",
    "merge": "aet.backbones.elasticize",
    "predict_folder": "aet.folder",
    "replay": "aet.adaptation.replay",
    "train": "aet.training.train",
    "tune": "aet.training.tune",
    "windows": "aet.series_windows",
    "train_ensemble": "aet.training.ensemble",
    "wrap": "aet.backbones.wrap",
}
__all__ = [
    "ElasticClassifier",
    "ElasticRegressor",
    "Ensemble",
    "Knowledge",
    "Model",
    "Scope",
    "Selective",
    "__version__",
    "attend",
    "build_stream",
    "elastic_parameters",
    "elasticize",
    "histories",
    "load",
    "merge",
    "predict_folder",
    "replay",
    "train",
    "train_ensemble",
    "tune",
    "windows",
    "wrap",
]


def __getattr__(name: str) -> Any:
    """Doors open when they are used, so that `import aet` stays light."""
    if name not in _DOORS:
        raise AttributeError(f"module 'aet' has no attribute {name!r}")
    return getattr(import_module(_DOORS[name]), name)

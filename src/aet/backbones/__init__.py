"""Transformers that aet did not build: `elasticize` gives them the elastic state, one file a family."""

from aet.backbones.elasticize import elastic_parameters, elasticize, merge, restore

__all__ = ["elastic_parameters", "elasticize", "merge", "restore"]

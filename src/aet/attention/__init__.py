"""Attention with dials: `attend`, the mechanisms, the elastic layers and their state."""

from aet.attention.attend import attend
from aet.attention.layer import ElasticAttention, ElasticNorm
from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.registry import discover

__all__ = ["ElasticAttention", "ElasticNorm", "ElasticState", "applied", "attend", "merge", "name_elastic"]

discover(__name__, __path__)

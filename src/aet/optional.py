"""Packages that aet works without."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from aet.errors import MissingPackage


def optional(module: str, what: str, install: str, instead: str) -> Any:
    """The module; MissingPackage says what needs it, how to install it, and what to do instead.

    >>> optional("no_such", "The optimiser 'x'", "pip install x", "take 'sgd'")
    Traceback (most recent call last):
    aet.errors.MissingPackage: The optimiser 'x' needs the package no-such, which is not installed. Install it with ...
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"{what} needs the package {module.replace('_', '-')}, which is not installed. Install it with {install}, "
            f"or {instead}."
        ) from error

"""Rows without an answer, for the switches that learn from them."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from aet.batch import Batch
from aet.errors import ConfigError, DataError, SchemaError
from aet.model import Model
from aet.tables import read_table


def unlabelled_rows(
    switch: str, file: str, model: Model, least: int = 1, what: str = "The rows without an answer"
) -> Batch:
    """The rows of a file as the model reads them; ConfigError if it cannot be read, lacks columns or `least` rows."""
    try:
        checked = model.check(read_table(file, header=model.config.data.get("header", "infer")))
    except (DataError, SchemaError) as error:
        raise ConfigError(f"{what} of the switch {switch!r} cannot be used ({file}): {error}") from error
    if (count := len(checked.frame)) < least:
        unless = "all are good" if count else "it is empty"
        raise ConfigError(
            f"The file {file} of the switch {switch!r} has {f'{count} rows' if count else 'no row'} that can be used: "
            f"expected {least} or more. Add rows; {next(iter(checked.problems.values()), unless)}."
        )
    return model.encode(checked.frame)


def digest(batch: Batch) -> Tensor:
    """Sum of the encoded rows, (32,) bytes: a run that is taken up must find the rows it was using.

    >>> one, two = (digest(Batch({"x": torch.tensor([[v]])})) for v in (1.0, 2.0))
    >>> one.shape, torch.equal(one, two)
    (torch.Size([32]), False)
    """
    summed = hashlib.sha256()
    for tensor in batch.values.values():
        summed.update(tensor.contiguous().numpy().data)
    return torch.tensor(list(summed.digest()), dtype=torch.uint8)

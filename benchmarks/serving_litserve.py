"""The LitServe peer of `serving.py`: the same model, forward pass and batches, behind LitServe's own processes.

    PYTHON benchmarks/serving_litserve.py RUN PORT

PYTHON has litserve; what aet needs and it lacks is taken from the folders in AET_BENCH_PATH.
"""

from __future__ import annotations

import os
import sys
from typing import Any

sys.path.extend(filter(None, os.environ.get("AET_BENCH_PATH", "").split(os.pathsep)))

import litserve
import pandas as pd
import torch

import aet

Rows = list[dict[str, float]]


class Answers(litserve.LitAPI):  # type: ignore[misc]
    """What the bare server of `serving.py` does with a batch."""

    def setup(self, device: str) -> None:
        """In the worker's process."""
        torch.set_num_threads(1)
        self.model = aet.load(sys.argv[1])

    def decode_request(self, request) -> Rows:  # type: ignore[no-untyped-def]  # LitServe reads the annotation
        """Its rows."""
        return list(request["rows"])

    def batch(self, inputs: list[Rows]) -> list[Rows]:
        """As they came."""
        return inputs

    def predict(self, batch: list[Rows]) -> list[list[dict[str, Any]]]:
        """Answers of each request, from one forward pass."""
        frame = self.model.predict(pd.DataFrame([row for rows in batch for row in rows]))
        said = iter(frame.astype(object).where(frame.notna(), None).to_dict("records"))
        return [[next(said) for _ in rows] for rows in batch]

    def unbatch(self, output: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """They are apart."""
        return output

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """The body."""
        return {"answers": output}


if __name__ == "__main__":
    server = litserve.LitServer(Answers(max_batch_size=64, batch_timeout=0.005), accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, log_level="warning", generate_client_file=False
    )

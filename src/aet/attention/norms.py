"""The kinds of norm that a trunk may have, `model.norm`: all with the same two dials on their output.

    layer:  w (x - mean x) / √(var x + ε) + b    over a token's channels  (Ba et al. 2016, 1607.06450)
    rms:    w x / √(mean x² + ε) + b             over a token's channels  (Zhang and Sennrich 2019, 1910.07467)
    batch:  w (x - μ) / √(σ² + ε) + b            over all real tokens     (Ioffe and Szegedy 2015, 1502.03167)

`rms` learns no b: it is 0 until a state is folded in. `batch` takes μ and σ of the batch in training, those of its mean
over the training batches in evaluation; padded tokens are left out of both, and come out as they come.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.layer import ElasticNorm, NormDials


class ElasticRMSNorm(nn.RMSNorm, NormDials):
    """x (B, T, dim), mask (B, T), which it does not need -> (B, T, dim)

    >>> ElasticRMSNorm(2)(torch.tensor([[[3.0, 4.0]]]))
    tensor([[[0.8485, 1.1314]]], grad_fn=...)
    """

    weight: nn.Parameter
    bias: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)
        self.register_buffer("bias", torch.zeros(dim))

    def normed(self, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """The formula above."""
        return F.rms_norm(x, self.normalized_shape, weight, self.eps) + bias

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Norm, then the dials."""
        return self.dressed(x, mask)


class ElasticBatchNorm(nn.BatchNorm1d, NormDials):
    """x (B, T, dim), mask (B, T), True where a token is real -> (B, T, dim)

    >>> norm = ElasticBatchNorm(1)
    >>> x, mask = torch.tensor([[[1.0], [3.0]], [[5.0], [99.0]]]), torch.tensor([[True, True], [True, False]])
    >>> norm(x, mask)[mask].mean().abs() < 1e-6, round(float(norm.running_mean), 3)  # 0.9 · 0 + 0.1 · 3
    (tensor(True), 0.3)
    """

    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__(dim)

    def normed(self, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """The formula above. A single real token has no spread: in training it is taken by the running moments."""
        own = (self.running_mean, self.running_var, weight, bias)
        real = x.flatten(0, 1) if mask is None or not self.training else x[mask]  # (N, dim)
        if not self.training or len(real) <= 1:
            return F.batch_norm(x.flatten(0, 1), *own, eps=self.eps).view_as(x)
        found = F.batch_norm(real, *own, training=True, momentum=0.1, eps=self.eps)
        return found.view_as(x) if mask is None else torch.zeros_like(x).masked_scatter(mask[..., None], found)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Norm, then the dials."""
        return self.dressed(x, mask)


class ElasticAffine(NormDials):
    """What stands in the place of a norm where tokens keep their size: w x + b, with a norm's dials after it.

    x (B, T, dim), mask (B, T), which it does not need -> (B, T, dim)

    An FT-Transformer's first block has no norm before its attention (Gorishniy et al. 2021, 2106.11959): the size of a
    single column's token is what the column says. To `watched_norms` it is no norm: it brings nothing to any moments.

    >>> x = torch.randn(2, 3, 4)
    >>> torch.equal(ElasticAffine(4)(x), x)
    True
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))  # w
        self.bias = nn.Parameter(torch.zeros(dim))  # b

    def normed(self, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """The line."""
        return torch.addcmul(bias, x, weight)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The line, then the dials."""
        return self.dialled(x, mask)


NORMS: dict[str, type[ElasticNorm | ElasticRMSNorm | ElasticBatchNorm]] = {
    "layer": ElasticNorm,
    "rms": ElasticRMSNorm,
    "batch": ElasticBatchNorm,
}
"""By the name under `model.norm`."""

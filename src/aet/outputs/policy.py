"""Which action to take, learned from a log of actions and what they earned (offline, from logged bandit feedback).

The log has for each row x the action a that was taken, its reward r, and the probability μ with which the logging
policy took it. The policy π(a|x) = softmax(z) is trained by

    l = -(r - λ) · π(a|x) · min(1/μ, M) + (r - λ)⁺ · min(1/μ, M)

the importance-weighted reward with a baseline λ, the mean reward of the log (Swaminathan and Joachims 2015, "The
self-normalized estimator for counterfactual learning"; Joachims, Swaminathan and de Rijke 2018, "Deep learning with
logged bandit feedback"); the last term depends on no weight and keeps the loss at 0 or above. Rewards are brought to
0..1 by their range in the training rows. What a policy would have earned is estimated by the self-normalised average of
the rows in which it would have done as the log did:

    V(π) = Σ r_i w_i / Σ w_i,     w_i = 1[argmax π(·|x_i) = a_i] · min(1/μ_i, M)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aet.config import Section
from aet.errors import FeedbackError
from aet.outputs.base import OUTPUTS, Output
from aet.outputs.label import LabelOutput


class PolicySettings(Section):
    """`output` for a policy."""

    most: float = Field(20.0, ge=1, description="M: the largest weight of a row, against rare actions.")


@OUTPUTS.register("policy")
class PolicyOutput(Output):
    """Two or more actions. Targets: (B, 3), number of the action, reward in 0..1, weight min(1/μ, M).

    Two target columns (action, reward) or three (and the propensity). With two, μ is the share of the action in the
    training rows: right only for a log whose actions did not depend on the row.
    """

    kind = "policy"
    metric = "value"
    score_name = "credit"
    probable = False
    shares: Tensor
    span: Tensor
    least: Tensor

    def __init__(self, targets: Any, dim: int) -> None:
        super().__init__(targets, dim)
        self.choice = LabelOutput(self.targets[:1], dim)
        self.most = 1.0

    @property
    def classes(self) -> list[Any]:
        """The actions."""
        return self.choice.classes

    @property
    def width(self) -> int:
        """Number of actions."""
        return self.choice.width

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """The actions and their shares, the range of the rewards, the baseline."""
        self.most = PolicySettings.checked("output", settings).most
        self.choice.fit(frame, {})
        self.reserve()
        rewards = frame[self.targets[1]].to_numpy(np.float64)
        self.span.copy_(torch.tensor([rewards.min(), max(float(np.ptp(rewards)), 1e-12)]))
        counts = torch.bincount(self.choice.encode(frame), minlength=self.width)
        self.shares.copy_(counts / len(frame))
        _, reward, weight = self.encode(frame).unbind(-1)
        self.least.copy_(torch.stack([reward.mean(), weight.max()]))

    def reserve(self) -> None:
        """Buffers: shares of the actions, lowest reward and range, baseline λ and largest weight."""
        self.register_buffer("shares", torch.ones(self.width))
        self.register_buffer("span", torch.tensor([0.0, 1.0], dtype=torch.float64))
        self.register_buffer("least", torch.tensor([0.0, 1.0]))

    def settings(self) -> dict[str, Any]:
        """The actions and the largest weight."""
        return {**self.choice.settings(), "most": self.most}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back the actions and the largest weight."""
        self.choice.load_settings(settings)
        self.most = float(settings["most"])
        self.reserve()

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """(B, 3)."""
        action = self.choice.encode(frame)
        try:
            rest = frame[list(self.targets[1:])].astype(float).to_numpy(np.float64)
        except (TypeError, ValueError) as error:
            raise FeedbackError(
                f"Rewards and propensities of {list(self.targets)} must be numbers: {error}."
            ) from error
        if not np.isfinite(rest).all() or (rest[:, 1:] <= 0).any() or (rest[:, 1:] > 1).any():
            raise FeedbackError(
                f"A row of {list(self.targets)} takes a finite reward, and a probability above 0 and at most 1; other "
                "values were given."
            )
        low, spread = self.span.cpu()
        reward = ((torch.tensor(rest[:, 0]) - low) / spread).clamp(0, 1).float()
        chance = torch.tensor(rest[:, 1]).float() if rest.shape[1] > 1 else self.shares.cpu()[action]
        return torch.stack([action.float(), reward, (1 / chance).clamp(max=self.most)], -1)

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """The formula above."""
        action, reward, weight = target.unbind(-1)
        chosen = F.softmax(logits, -1).gather(-1, action.long()[:, None]).squeeze(-1)
        better = reward - self.least[0]
        return weight * torch.where(better > 0, better * (1 - chosen), -better * chosen)

    def joined(self, logits: Tensor) -> Tensor:
        """Log of the members' mean probability."""
        return self.choice.joined(logits)

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Logits in the order of the own actions; ConfigError if the other has others."""
        self.of_my_kind(other)
        assert isinstance(other, PolicyOutput)
        return self.choice.translated(other.choice, logits)

    def pooled(self, logits: Tensor) -> Tensor:
        """The logarithm of the mean probability."""
        return self.choice.pooled(logits)

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """τ² KL between the policies at temperature τ."""
        return self.choice.distance(logits, taught, temperature)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`: the best action; `confidence`: its probability; with proba one column `p_{action}` each."""
        return self.choice.answers(logits, proba)

    def credit(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Rewards (B,) in 0..1 and weights (B,) of the rows in which the best action is the log's, 0 elsewhere."""
        action, reward, weight = target.unbind(-1)
        return reward, weight * (logits.argmax(-1) == action)

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """The reward times w, over the largest weight: its mean is the value by inverse propensity but for a factor."""
        reward, weight = self.credit(logits, target)
        return (reward * weight / self.least[1].to(weight.device)).clamp(0, 1)

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """1 where the best action is another."""
        return self.choice.apart(one, other)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Entropy of the policy over log of the number of actions."""
        return self.choice.uncertainty(logits)

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """In the rewards' unit: `value`, V of the policy, and `logged`, what the log earned; `agreement`: in how many
        rows both do the same; `effective_rows`: (Σ w)² / Σ w², what the value rests on.
        """
        reward, weight = (part.double() for part in self.credit(logits, target))
        low, spread = (float(number) for number in self.span)
        total = weight.sum()
        value = float((reward * weight).sum() / total) if total > 0 else 0.0
        return {
            "value": low + spread * value,
            "logged": low + spread * float(reward.mean()),
            "credit": float(self.scores(logits, target).mean()),
            "agreement": float((weight > 0).double().mean()),
            "effective_rows": float(total.square() / weight.square().sum().clamp_min(1e-12)),
        }

"""A policy in its world: let it act in an environment, write down what happens, and learn from that later.

Environments are those of gymnasium (`reset`, `step`, `action_space`), or anything that does the same.

    log = log_episodes(environment, behaviour, episodes=200)       # observations, action, reward to go, propensity
    model = aet.train(log, target=["action", "reward", "propensity"], output="policy", group="episode")
    rollout(model, environment, episodes=20)                       # what each episode earns
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.errors import DataError

if TYPE_CHECKING:
    from aet.model import Model

Behaviour = Callable[[npt.NDArray[np.float64]], Sequence[float]]
"""Observation (D,) -> probability of each action (A,)."""


class Environment(Protocol):
    """What is asked of an environment: gymnasium's contract."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """First observation, and information."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Observation, reward, whether it ended, whether it was cut off, and information."""


def observed(observation: Any) -> dict[str, float]:
    """An observation as a row: columns s0, s1, ...

    >>> observed([0.5, -1.0])
    {'s0': 0.5, 's1': -1.0}
    """
    return {f"s{place}": float(value) for place, value in enumerate(np.asarray(observation, dtype=float).ravel())}


def log_episodes(
    environment: Environment,
    behaviour: Behaviour,
    episodes: int,
    *,
    discount: float = 0.95,
    steps: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """A log of episodes under a behaviour that draws its actions: one row a step.

    Columns s0, s1, ..., `action`, `reward` (what came from then on: G_t = r_t + γ G_{t+1}, γ = `discount`),
    `propensity`, `episode`, `step`. Of one step the importance weights are exact, of what follows they are not: G_t is
    the reward under the behaviour from the next step on, so that the policy learned is one step of improvement on it.

    Raises DataError for probabilities that are none.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for episode in range(episodes):
        observation, _ = environment.reset(seed=seed + episode)
        begun, rewards, over = len(rows), list[float](), False
        while not over and len(rewards) < steps:
            chances = np.asarray(behaviour(np.asarray(observation, dtype=float).ravel()), dtype=float)
            if chances.ndim != 1 or (chances < 0).any() or not np.isclose(chances.sum(), 1):
                raise DataError(
                    f"The behaviour gave {chances.tolist()}: expected the probability of each action, numbers of 0 or "
                    "more that sum to 1. Divide them by their sum."
                )
            action = int(rng.choice(len(chances), p=chances / chances.sum()))
            rows.append({**observed(observation), "action": action, "propensity": float(chances[action])})
            observation, reward, ended, cut, _ = environment.step(action)
            rewards.append(float(reward))
            over = ended or cut
        to_go = 0.0
        for step in range(len(rewards) - 1, -1, -1):
            to_go = rewards[step] + discount * to_go
            rows[begun + step] |= {"reward": to_go, "episode": episode, "step": step}
    return pd.DataFrame(rows)


def rollout(
    model: Model, environment: Environment, episodes: int = 10, *, steps: int = 1000, seed: int = 0
) -> npt.NDArray[np.float64]:
    """What each episode earns (episodes,), the model acting: its prediction is the action.

    Every step of all episodes is one row; the environment is reset with the seeds `seed`, `seed` + 1, ...
    """
    earned = np.zeros(episodes)
    for episode in range(episodes):
        observation, _ = environment.reset(seed=seed + episode)
        for _ in range(steps):
            action = model.predict(pd.DataFrame([observed(observation)]))["prediction"].iloc[0]
            observation, reward, ended, cut, _ = environment.step(action)
            earned[episode] += float(reward)
            if ended or cut:
                break
    return earned


def with_history(
    rows: pd.DataFrame, columns: Sequence[str], steps: int = 1, episode: str | None = None
) -> pd.DataFrame:
    """The rows with the columns' values of so many steps before, as `{column}@-1`, `{column}@-2`, ...

    Rows are in the order of time; with `episode` nothing is taken from another episode. Where there is no step before,
    the value is missing.

    >>> with_history(pd.DataFrame({"s": [1, 2, 3], "run": [0, 0, 1]}), ["s"], episode="run")
       s  run  s@-1
    0  1    0   NaN
    1  2    0   1.0
    2  3    1   NaN
    """
    lacking = [name for name in columns if name not in rows]
    if lacking:
        raise DataError(
            f"There is no column {lacking[0]!r} to take the history of. Known: {', '.join(map(str, rows))}."
        )
    held = rows[list(columns)] if episode is None else rows.groupby(rows[episode], sort=False)[list(columns)]
    before = [held.shift(step).add_suffix(f"@-{step}") for step in range(1, steps + 1)]
    return pd.concat([rows, *before], axis=1)

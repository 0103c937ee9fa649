"""Two programs that do one job, run in turn, and the ratio of their times pair by pair."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """One run: milliseconds a unit of work, and how good the result is."""

    ms: float
    quality: dict[str, float]
    #: the loss before each step and after the last, for jobs that are compared at equal loss
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class Job:
    """One line of the table."""

    name: str
    peer_name: str
    ours: Callable[[], Outcome]
    peer: Callable[[], Outcome]
    #: least ratio of the peer's time to ours that counts as reached
    target: float
    settings: dict[str, Any]
    #: the entry of the quality that must be no worse than the peer's, where smaller is better
    judged_by: str
    #: how much larger than the peer's it may be: a factor, and below this size it does not matter
    factor: float = 1.01
    negligible: float = 0.0


@dataclass
class Measured:
    """All runs of one job."""

    job: Job
    ours: list[Outcome] = field(default_factory=list)
    peer: list[Outcome] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """The peer's time over ours in each pair, times the ratio of steps to equal loss."""
        return [
            other.ms / mine.ms * steps_ratio(mine, other)
            for mine, other in zip(self.ours, self.peer, strict=True)
        ]

    @property
    def as_good(self) -> bool:
        """Whether our result is no worse than the peer's."""
        mine, other = (run[0].quality[self.job.judged_by] for run in (self.ours, self.peer))
        return mine <= max(self.job.factor * other, self.job.negligible)

    @property
    def met(self) -> bool:
        """Whether the median ratio reaches the target, with a result that is no worse."""
        return self.as_good and statistics.median(self.ratios) >= self.job.target

    def to_dict(self) -> dict[str, Any]:
        """Everything, for the JSON file."""
        return {
            "job": self.job.name,
            "peer": self.job.peer_name,
            "ours_ms": quartiles([run.ms for run in self.ours]),
            "peer_ms": quartiles([run.ms for run in self.peer]),
            "ratio": quartiles(self.ratios),
            "steps_to_equal_loss": round(1 / steps_ratio(self.ours[0], self.peer[0]), 3),
            "target": self.job.target,
            "met": self.met,
            "quality": {
                "judged_by": self.job.judged_by,
                "ours": self.ours[0].quality,
                "peer": self.peer[0].quality,
            },
            "settings": self.job.settings,
        }


def in_turn(job: Job, repeats: int) -> Measured:
    """Run both `repeats` times in turn, after one run of each that does not count.

    Who goes first changes from pair to pair, so that a machine that slows down favours no one.
    """
    measured = Measured(job)
    job.ours(), job.peer()
    for pair in range(repeats):
        if pair % 2:
            other, mine = job.peer(), job.ours()
        else:
            mine, other = job.ours(), job.peer()
        measured.ours.append(mine)
        measured.peer.append(other)
    return measured


def steps_ratio(mine: Outcome, other: Outcome) -> float:
    """Steps that the peer takes over the steps that we take to the worse of the two last losses.

    1 where the job has no loss, or where both fall alike.
    """
    if not mine.curve:
        return 1.0
    goal = max(mine.curve[-1], other.curve[-1])
    return _steps(other.curve, goal) / _steps(mine.curve, goal)


def quartiles(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile, to four digits."""
    if len(values) == 1:
        values = values * 2
    return [float(f"{q:.4g}") for q in statistics.quantiles(values, n=4, method="inclusive")]


def _steps(curve: tuple[float, ...], goal: float) -> float:
    """Steps until the loss is down to the goal, interpolated between two steps."""
    for step, (before, after) in enumerate(pairwise(curve)):
        if after <= goal:
            return step + ((before - goal) / (before - after) if before > goal else 0)
    return len(curve) - 1

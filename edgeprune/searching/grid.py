"""The grid of candidates: every way to prune times every way to export and run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from edgeprune.values.plan import BenchPlan
from edgeprune.values.spec import ExportSpec, PruneSpec

REPEAT_OVERHEAD_S = 2.0
"""Start of a worker and loading of a runtime, per repeat, s; an estimate that only bounds the plan."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to try.

    Attributes:
        prune: How to prune; None for the dense network.
        export: How to export.
        plan: How to measure.
    """

    prune: PruneSpec | None
    export: ExportSpec
    plan: BenchPlan


def grid(prunes: Iterable[PruneSpec], exports: Sequence[ExportSpec], plans: Sequence[BenchPlan]) -> list[Candidate]:
    """List all candidates, the dense network first.

    Args:
        prunes: Ways to prune; the dense network is added.
        exports: Ways to export.
        plans: Ways to measure: one per number of threads.

    Returns:
        The product, ordered by prune, export, plan.
    """
    return [Candidate(*parts) for parts in product([None, *prunes], exports, plans)]


def within_budget(
    candidates: Sequence[Candidate], *, trials: int | None = None, device_time_s: float | None = None
) -> list[Candidate]:
    """Keep the first candidates that fit a budget.

    Args:
        candidates: In order of interest; the first is the baseline and always stays.
        trials: At most so many; None for no bound.
        device_time_s: Time on the board, s; None for no bound.

    Returns:
        A prefix of `candidates`, never empty if they were not.
    """
    kept: list[Candidate] = []
    for candidate in candidates[:trials]:
        if kept and device_time_s is not None and expected_s([*kept, candidate]) > device_time_s:
            break
        kept.append(candidate)
    return kept


def expected_s(candidates: Iterable[Candidate]) -> float:
    """Estimate the time on the board, s.

    Args:
        candidates: To measure.

    Returns:
        Warm-up, measuring and process starts; a lower bound for models that run seldom in the plan's duration.
    """
    plans = (candidate.plan for candidate in candidates)
    return sum(plan.min_duration_s + plan.repeats * (plan.warmup_s + REPEAT_OVERHEAD_S) for plan in plans)

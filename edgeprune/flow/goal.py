"""What one call wants: the configuration's goal, with what the caller said on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeprune import units
from edgeprune.config import Config, SearchConfig
from edgeprune.errors import UsageError
from edgeprune.searching import Candidate, grid, within_budget
from edgeprune.values.choice import Constraint, Objective
from edgeprune.values.device import DeviceProfile
from edgeprune.values.plan import BenchPlan
from edgeprune.values.spec import OWN_CRITERIA, WEIGHT_CRITERIA, ExportSpec, PruneSpec


@dataclass(frozen=True, slots=True)
class Goal:
    """Objectives, bounds and budget of a search.

    Attributes:
        minimize: Quantities, the most important first.
        constraints: Bounds that the winner keeps.
        trials: Number of variants at most; None for no bound.
        device_time_s: Time on the board at most, s; None for no bound.
        plan: Name of the bench plan.
    """

    minimize: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    trials: int | None
    device_time_s: float | None
    plan: str

    @property
    def energy_bound(self) -> Constraint | None:
        """The bound on energy, if there is one."""
        return next((bound for bound in self.constraints if bound.quantity == "energy"), None)

    @classmethod
    def of(
        cls,
        config: Config,
        *,
        minimize: Sequence[str] = (),
        constraints: Sequence[str] = (),
        trials: int | None = None,
        device_time: str | None = None,
        plan: str | None = None,
    ) -> Goal:
        """Combine the configuration's goal with a caller's.

        Args:
            config: Of the project.
            minimize: Replaces the configuration's objectives; empty keeps them.
            constraints: Each replaces the configuration's bound on the same side of the same quantity.
            trials: Replaces the configuration's.
            device_time: Such as "10m"; replaces the configuration's.
            plan: Replaces the configuration's.

        Returns:
            The goal.

        Raises:
            UsageError: A constraint, an objective or the time is malformed.
        """
        bounds = {(c.quantity, c.operator): c for c in map(Constraint.parse, [*config.goal.constraints, *constraints])}
        time_s = config.search.device_time_s if device_time is None else units.parse_quantity(device_time, "s")
        if time_s is not None and time_s <= 0:
            raise UsageError(f"{device_time!r} leaves no time on the board.", "Give a duration such as 10m.")
        return cls(
            tuple(Objective(quantity).quantity for quantity in minimize) or config.goal.minimize,
            tuple(bounds.values()),
            trials or config.search.trials,
            time_s,
            plan or config.search.plan,
        )


def check_measurable(goal: Goal, profile: DeviceProfile) -> None:
    """Refuse a bound that this device cannot judge, before anything is done for it.

    Args:
        goal: What is wanted.
        profile: Of the device.

    Raises:
        UsageError: Energy is bounded, and the device has no meter.
    """
    bound = goal.energy_bound
    if bound is not None and profile.meter == "none":
        raise UsageError(
            f"{bound} cannot be judged: the device {profile.name} has no meter.", "Drop the bound, or name its meter."
        )


def candidates(config: Config, goal: Goal) -> list[Candidate]:
    """List what a search tries: the configured grid within the goal's budget, the dense network first.

    Args:
        config: Of the project.
        goal: Its budget and plan count here.

    Returns:
        In order of interest.
    """
    search = config.search
    prunes = [
        spec
        for method in search.methods
        for criterion in _criteria(method, search.criteria)
        for spec in _amounts(method, criterion, search)
    ]
    names = tuple(spec.name for spec in config.model.inputs)
    batches = config.data.calibration_batches
    exports = [
        ExportSpec(format_, precision, input_names=names, calibration_batches=batches)
        for format_ in search.formats
        for precision in search.precisions
    ]
    plans = [BenchPlan.named(goal.plan, threads=threads) for threads in search.threads]
    return within_budget(grid(prunes, exports, plans), trials=goal.trials, device_time_s=goal.device_time_s)


def _criteria(method: str, wanted: Sequence[str]) -> Sequence[str]:
    # What a method can rank by, of what is wanted; its usual criterion where that is nothing.
    if method in OWN_CRITERIA:
        return ("",)
    if method == "weight":
        return [criterion for criterion in wanted if criterion in WEIGHT_CRITERIA] or ("",)
    return wanted


def _amounts(method: str, criterion: str, search: SearchConfig) -> list[PruneSpec]:
    if method == "weight":
        return [PruneSpec(method, criterion, sparsity=share, seed=search.seed) for share in search.ratios]
    return [
        PruneSpec(method, criterion, ratio=share, round_to=search.round_to, seed=search.seed) for share in search.ratios
    ]

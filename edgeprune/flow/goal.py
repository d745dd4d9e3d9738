"""What one call wants: the configuration's goal, with what the caller said on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeprune import units
from edgeprune.config import Config, SearchConfig
from edgeprune.errors import UsageError
from edgeprune.exporting.model_file import format_of
from edgeprune.searching import Candidate, grid, within_budget
from edgeprune.values.choice import Constraint, Objective
from edgeprune.values.device import DeviceProfile
from edgeprune.values.plan import BenchPlan
from edgeprune.values.spec import CALIBRATED, OWN_CRITERIA, WEIGHT_CRITERIA, ExportSpec, PruneSpec

WITHOUT_DATA = ("fp16", "int8-dynamic")
"""Precisions of a model file that comes without training data."""
AGREEMENT_WITHOUT_TEST_RATIO = 0.99
"""Least top-1 agreement of a variant with a model file that comes without test data."""


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

    A model file is not pruned and keeps its format. Without training data its precisions are those that need no
    calibration, and without test data each must agree with the file itself.

    Args:
        config: Of the project.
        goal: Its budget and plan count here.

    Returns:
        In order of interest.
    """
    search = config.search
    methods = search.methods if config.model.file is None else ()  # a file is exported as it is
    prunes = [
        spec
        for method in methods
        for criterion in _criteria(method, search.criteria)
        for spec in _amounts(method, criterion, search)
    ]
    exports = _exports(config)
    plans = [BenchPlan.named(goal.plan, threads=threads) for threads in search.threads]
    return within_budget(grid(prunes, exports, plans), trials=goal.trials, device_time_s=goal.device_time_s)


def _exports(config: Config) -> list[ExportSpec]:
    search, file = config.search, config.model.file
    formats = search.formats if file is None else (format_of(Path(file)),)
    precisions = search.precisions if file is None else _precisions_of_file(config)
    specs = [configured(ExportSpec(format_, precision), config) for format_ in formats for precision in precisions]
    return specs if file is None or config.data.test else [_held_to_the_file(spec) for spec in specs]


def _precisions_of_file(config: Config) -> tuple[str, ...]:
    # The file itself comes first, as what the others are compared with; without data there are no ranges to find.
    wanted = [name for name in config.search.precisions if name != "fp32"]
    able = [name for name in wanted if config.data.train or name not in CALIBRATED]
    return ("fp32", *(able or WITHOUT_DATA))


def _held_to_the_file(spec: ExportSpec) -> ExportSpec:
    # Where accuracy cannot be known, agreement with the file stands in for it.
    if spec.precision == "fp32" or spec.agreement_floor_ratio is not None:
        return spec
    return replace(spec, min_agreement_ratio=AGREEMENT_WITHOUT_TEST_RATIO)


def configured(spec: ExportSpec, config: Config) -> ExportSpec:
    """Return a spec with what a project's configuration says of every artifact.

    Args:
        spec: What it says itself counts more.
        config: The project's.

    Returns:
        The spec with the inputs' names, the calibration and the floor.
    """
    export = config.export
    calibration = export.calibration if spec.precision in CALIBRATED and spec.format == "onnx" else "minmax"
    reduced = spec.precision != "fp32"  # nothing is lost that a floor could be for
    return replace(
        spec,
        input_names=tuple(given.name for given in config.model.inputs),
        calibration_batches=config.data.calibration_batches,
        calibration=spec.calibration if spec.calibration != "minmax" else calibration,
        min_agreement_ratio=spec.min_agreement_ratio or (export.min_agreement_ratio if reduced else None),
        max_error_ratio=spec.max_error_ratio or (export.max_error_ratio if reduced else None),
    )


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

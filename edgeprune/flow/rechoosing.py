"""Choosing again from what was measured before."""

from __future__ import annotations

from edgeprune import measuring
from edgeprune.choosing import pareto
from edgeprune.config import Config
from edgeprune.errors import UsageError
from edgeprune.flow.goal import Goal
from edgeprune.flow.project import Project
from edgeprune.flow.result import RunResult
from edgeprune.store import RunStore
from edgeprune.values.device import DeviceInfo
from edgeprune.values.json import from_data


def choose_again(config: Config, goal: Goal, run_id: str | None, store_url: str | None = None) -> RunResult:
    """Choose from stored measurements; needs no device.

    Args:
        config: The project's.
        goal: Objectives and bounds.
        run_id: Of the run, or a prefix of it; None for the newest.
        store_url: Of the result store; None for the project's.

    Returns:
        The run with its new choice.

    Raises:
        UsageError: The run has no finished measurement.
    """
    with RunStore.open(store_url or config.store.url, config.folder) as store:
        record = store.run(run_id)
        info = from_data(DeviceInfo, record.info["board"])
        data_id = Project(config).data_id
        measurements = [
            measuring.summarise(
                variant.artifact, plan, repeats, device=record.device, info=info, variant=variant,
                device_accuracy=store.accuracy(variant.artifact.sha256, info.device_id, data_id),
            )
            for variant, plan in store.entries(record.run_id)
            if len(repeats := store.repeats(variant.artifact.sha256, info.device_id, plan)) == plan.repeats
        ]  # fmt: skip
    if not measurements:
        raise UsageError(f"Run {record.run_id} has no finished measurement.", "Run `edgeprune search` first.")
    front = pareto(measurements, minimize=goal.minimize, constraints=goal.constraints)
    return RunResult(record.run_id, record.device, front, front.choose())

"""Why a prune left what it left, and why a run chose what it chose: from what is stored, without a board."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune import pruning
from edgeprune.choosing.axes import Axis, axes_of
from edgeprune.choosing.bounds import Bounds, written
from edgeprune.choosing.ties import decision
from edgeprune.config import Config
from edgeprune.errors import UsageError
from edgeprune.flow.goal import Goal
from edgeprune.flow.project import Project
from edgeprune.flow.rechoosing import choose_again
from edgeprune.flow.result import RunResult
from edgeprune.flow.workspace import Workspace
from edgeprune.values.json import content_id, from_data
from edgeprune.values.measurement import Measurement
from edgeprune.values.spec import PruneSpec


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What `report.json` beside a recipe says.

    Attributes:
        spec: How it was pruned.
        groups: One row per channel group, tensor, layer or connection.
        proof: That the result computes what it should.
        size: Bytes of the weights, where zeros make a difference; None where only the shapes count.
        notes: What the user has to know besides.
    """

    spec: PruneSpec
    groups: tuple[pruning.GroupReport, ...]
    proof: pruning.ProofReport
    size: pruning.SizeReport | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one measured variant.

    Attributes:
        id: The variant's.
        label: Its short name.
        outcome: "won" or "lost".
        why: In words.
    """

    id: str
    label: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of a prune, or of a run and the prune that won it.

    Attributes:
        folder: Where the prune lies; None if the winner is the dense network.
        prune: What it did; None likewise.
        run: The run's id; None if a folder was asked for.
        fates: Of every variant of the run, the winner first.
    """

    folder: Path | None
    prune: PruneReport | None
    run: str | None = None
    fates: tuple[Fate, ...] = ()


def explain(config: Config | None, what: str | None, store_url: str | None = None) -> Explanation:
    """Explain a prune or a run.

    Args:
        config: The project's; needed for a run only.
        what: A folder that `edgeprune prune` wrote, or a run's id or its beginning; None for the newest run.
        store_url: Of the result store; None for the project's.

    Returns:
        The explanation.

    Raises:
        UsageError: The folder holds no prune, or there is no project to look for a run in.
    """
    folder = Path(what) if what is not None else None
    if folder is not None and folder.is_dir():
        return Explanation(folder, read_report(folder))
    if config is None:
        raise UsageError(
            f"{what!r} is no folder, and there is no project to look for a run in." if what else "There is no project.",
            "Name a folder that `edgeprune prune -o` wrote, or go to the project's folder.",
        )
    result = choose_again(config, Goal.of(config), what, store_url)
    where = _winners_folder(config, result)
    return Explanation(where, read_report(where) if where else None, result.run, fates(result))


def read_report(folder: Path) -> PruneReport:
    """Read `report.json`.

    Args:
        folder: That a prune was written to.

    Returns:
        The report.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    try:
        data: Any = json.loads((folder / "report.json").read_text("utf-8"))
        return from_data(PruneReport, data)
    except FileNotFoundError as error:
        step = "Give the folder that `edgeprune prune -o` wrote."
        raise UsageError(f"{folder} holds no report.json.", step) from error
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(f"{folder / 'report.json'} cannot be read: {error}.", "Prune again to write it.") from error


def fates(result: RunResult) -> tuple[Fate, ...]:
    """Say of every variant of a run why it won or lost.

    Args:
        result: With a choice.

    Returns:
        The winner first, then the others from the fastest to the slowest.
    """
    choice = result.choice
    if choice is None:
        return ()
    winner, others = choice.winner, [m for m in result.measurements if m is not choice.winner]
    axes = axes_of(result.measurements, result.front.objectives).all
    bounds = Bounds(result.front.constraints, result.front.baseline)
    lost = [Fate(m.id, m.label, "lost", _why_lost(m, winner, axes, bounds)) for m in others]
    return (Fate(winner.id, winner.label, "won", choice.reason), *lost)


def _why_lost(lost: Measurement, winner: Measurement, axes: Sequence[Axis], bounds: Bounds) -> str:
    broken = bounds.broken(lost)
    if broken:
        return "breaks a constraint: " + " and ".join(bounds.miss_in_words(lost, bound) for bound in broken)
    if lost.verdict == "inconclusive":
        return f"its measurement is inconclusive: {lost.verdict_reason}".rstrip(": ")
    for axis in axes:
        if axis.better(winner, lost):
            return f"{axis.quantity} {_figure(lost, axis)} against the winner's {_figure(winner, axis)}"
    return f"ties with the winner within the uncertainty{decision(winner, lost)}"


def _figure(measurement: Measurement, axis: Axis) -> str:
    value = measurement.quantity(axis.quantity)
    return "not measured" if value is None else written(value, axis.quantity)


def _winners_folder(config: Config, result: RunResult) -> Path | None:
    variant = result.choice.winner.variant if result.choice else None
    if variant is None or variant.prune is None:
        return None
    identity = content_id(Project(config).fingerprint, variant.prune)
    folder = Workspace(config.folder / ".edgeprune").model(identity)
    return folder if (folder / "report.json").exists() else None

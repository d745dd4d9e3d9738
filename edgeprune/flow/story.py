"""The story: a trained network to a measured, chosen and installed variant on one board.

model ─prune─▶ pruned model ─export─▶ artifact ─push, measure─▶ measurement ─choose─▶ choice ─install─▶ release
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgeprune import config as configuration
from edgeprune import deploying, exporting
from edgeprune.choosing import pareto
from edgeprune.config import Config
from edgeprune.devices import Session, connect, resolve
from edgeprune.errors import DeviceError, ReleaseError
from edgeprune.flow.goal import Goal, candidates, check_measurable
from edgeprune.flow.project import Project
from edgeprune.flow.result import RunResult
from edgeprune.flow.rounds import Entry, Rounds, with_host_accuracy
from edgeprune.flow.targets import suited_to_board
from edgeprune.flow.variants import Failure, prepare
from edgeprune.flow.workspace import Workspace
from edgeprune.searching import Candidate
from edgeprune.store import RunStore
from edgeprune.values.choice import Choice
from edgeprune.values.device import DeviceInfo, DeviceProfile
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.json import content_id, to_data
from edgeprune.values.release import Release

GOLDEN_EXAMPLES = 8
"""Test examples whose outputs a release must reproduce on the board."""


def run(
    config: Config,
    device: str | DeviceProfile,
    goal: Goal,
    *,
    install: bool,
    store_url: str | None = None,
    listener: Listener = ignore,
) -> RunResult:
    """Prune, export, push, measure, choose and, if asked, install.

    What an earlier call made or measured is used again, so a call that was killed goes on where it stopped.

    Args:
        config: The project's.
        device: Name, tag or address of the board, or its profile.
        goal: What to look for.
        install: Whether to install the winner.
        store_url: Of the result store; None for the project's.
        listener: Told of every step.

    Returns:
        The evidence, and the release if there is one.
    """
    started = time.monotonic()
    project, profile = Project(config), resolve(device, config.devices)
    check_measurable(goal, profile)
    with RunStore.open(store_url or config.store.url, config.folder) as store:
        with connect(profile, exclusive=False) as session:
            info = session.info
        run_id = content_id(project.fingerprint, project.data_id, info.device_id, profile.name)
        store.begin_run(run_id, profile.name, project.fingerprint, {"board": to_data(info)})
        tried = _tried(config, goal, info)
        entries, failed = _prepare(project, store, run_id, tried, profile.meter, listener)
        with connect(profile, listener=listener) as session:
            rounds = Rounds(session, store, project, listener, goal.energy_bound is not None)
            measurements = rounds.measure(entries)
            front = pareto(measurements, minimize=goal.minimize, constraints=goal.constraints)
            choice = front.choose()
            release = _install(project, session, choice, listener) if install else None
        result = RunResult(
            run_id, profile.name, front, choice, release,
            tuple((f.label, str(f.error)) for f in [*failed, *(f for _, f in rounds.failed)]),
            rounds.device_time_s, time.monotonic() - started,
        )  # fmt: skip
        store.finish_run(run_id, result.to_data())
        return result


def deploy(
    config: Config | Path | str = "edgeprune.toml",
    device: str = "local",
    *,
    minimize: Sequence[str] = (),
    constraints: Sequence[str] = (),
    listener: Listener = ignore,
) -> Release:
    """Do the whole story and return what is installed.

    Args:
        config: The parsed file or its path.
        device: Name, tag or address of the board.
        minimize: Objectives, the most important first; empty takes the configuration's.
        constraints: Such as "accuracy_drop <= 0.5pt"; on top of the configuration's.
        listener: Told of every step.

    Returns:
        The release, healthy and current.

    Raises:
        ReleaseError: Nothing was installed.
    """
    loaded, goal = _asked(config, minimize, constraints)
    result = run(loaded, device, goal, install=True, listener=listener)
    if result.release is None:
        raise ReleaseError("Nothing was installed.", "Run `edgeprune deploy` to see each step.")
    return result.release


def search(
    config: Config | Path | str = "edgeprune.toml",
    device: str = "local",
    *,
    minimize: Sequence[str] = (),
    constraints: Sequence[str] = (),
    listener: Listener = ignore,
) -> RunResult:
    """Do the story up to the choice; install nothing.

    Args:
        config: The parsed file or its path.
        device: Name, tag or address of the board.
        minimize: Objectives, the most important first; empty takes the configuration's.
        constraints: Such as "accuracy_drop <= 0.5pt"; on top of the configuration's.
        listener: Told of every step.

    Returns:
        The front, the choice and all measurements.
    """
    loaded, goal = _asked(config, minimize, constraints)
    return run(loaded, device, goal, install=False, listener=listener)


def _asked(config: Config | Path | str, minimize: Sequence[str], constraints: Sequence[str]) -> tuple[Config, Goal]:
    loaded = config if isinstance(config, Config) else configuration.load(Path(config))
    return loaded, Goal.of(loaded, minimize=minimize, constraints=constraints)


def _tried(config: Config, goal: Goal, info: DeviceInfo) -> list[Candidate]:
    return [replace(c, export=suited_to_board(c.export, info)) for c in candidates(config, goal)]


def _prepare(
    project: Project, store: RunStore, run_id: str, tried: Sequence[Candidate], meter: str, listener: Listener
) -> tuple[list[Entry], list[Failure]]:
    entries: list[Entry] = []
    failed: list[Failure] = []
    workspace = Workspace(project.config.folder / ".edgeprune")
    for candidate, made in prepare(project, workspace, tried, listener):
        if isinstance(made, Failure):
            listener(Event("export", made.label, message=f"{made.label}: {made.error.message}"))
            failed.append(made)
            continue
        variant = with_host_accuracy(project, store, made)
        plan = replace(candidate.plan, meter=meter)
        store.put_entry(run_id, variant, plan)
        entries.append((variant, plan))
    return entries, failed


def _install(project: Project, session: Session, choice: Choice, listener: Listener) -> Release:
    variant = choice.winner.variant
    if variant is None:
        raise DeviceError("The winner is no variant of this project.", "Run deploy again.")
    inputs = project.first_examples(GOLDEN_EXAMPLES)
    outputs = exporting.predict(variant.artifact, inputs)
    manifest = {
        "label": variant.label,
        "variant": variant.id,
        "reason": choice.reason,
        "accuracy": choice.winner.accuracy,
        "p50_s": choice.winner.latency.p50_s,
        "size_bytes": variant.artifact.size_bytes,
    }
    return deploying.install(
        session, choice, model=project.config.model_name, golden=(inputs, outputs), manifest=manifest, listener=listener
    )

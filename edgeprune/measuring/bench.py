"""Session + Artifact + BenchPlan -> Measurement."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprune.devices.replies import read_state
from edgeprune.errors import ProtocolError, RunFailed, UsageError
from edgeprune.measuring import evidence
from edgeprune.measuring.cooling import CoolingGate
from edgeprune.measuring.energy import EnergyResult, energy_of
from edgeprune.measuring.latency import latency_stats
from edgeprune.measuring.layers import layer_times, model_spec
from edgeprune.measuring.metering import NO_POWER, Metering, Power, power_for
from edgeprune.measuring.runtime import RUNTIMES_OF_FORMAT, START_S, choose_runtime, run_worker
from edgeprune.measuring.verdict import judge
from edgeprune.values.artifact import Artifact
from edgeprune.values.board_state import BoardState
from edgeprune.values.device import DeviceInfo
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.measurement import Footprint, Measurement, Repeat
from edgeprune.values.plan import BenchPlan
from edgeprune.values.variant import Variant

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

_READINGS, _SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 20, 0.1, 5.0
"""Readings of the board's state in a repeat, where that puts neither less nor more time between two of them."""
_FOOTPRINT_RUNS = 5


def measure(
    session: Session,
    artifact: Artifact,
    plan: BenchPlan | None = None,
    *,
    variant: Variant | None = None,
    accuracy: float | None = None,
    listener: Listener = ignore,
) -> Measurement:
    """Measure an artifact on a board: all repeats of the plan, one after the other.

    Args:
        session: Of the board.
        artifact: What to measure.
        plan: How; None for the default plan.
        variant: What the artifact was made of; None for a file that we did not make.
        accuracy: Its accuracy on this board, if it was evaluated there.
        listener: Hears of the progress.

    Returns:
        The measurement, whose verdict says whether its numbers can be used.
    """
    plan = plan or BenchPlan()
    power = power_for(session, plan.meter or session.profile.meter, listener)
    gate, repeats = CoolingGate(session.state), []
    for index in range(plan.repeats):
        gate.wait(plan.cool_s)
        repeats.append(measure_repeat(session, artifact, plan, index, listener, power))
    return summarise(
        artifact, plan, repeats,
        device=session.profile.name, info=session.info, variant=variant, device_accuracy=accuracy,
    )  # fmt: skip


def measure_repeat(
    session: Session,
    artifact: Artifact,
    plan: BenchPlan,
    index: int,
    listener: Listener = ignore,
    power: Power = NO_POWER,
) -> Repeat:
    """Measure once, in a fresh process on the board; before the first time, loading and memory in another one.

    Args:
        session: Of the board.
        artifact: What to measure; it is sent if the board does not have it.
        plan: How; the repeat takes its share of durations and runs.
        index: 0-based number of the repeat.
        listener: Hears of the progress.
        power: What reads power meanwhile; the run is made as long as that needs.

    Returns:
        The raw samples.

    Raises:
        ProtocolError: The agent's events are not those of a latency run.
        RunFailed: The run ended without a sample.
    """
    runtime = choose_runtime(session, artifact.format, plan.runtime)
    session.push(artifact.path, artifact.sha256)
    footprint = None if index else _measure_footprint(session, artifact, plan, runtime)
    metering = Metering(power, latency_spec(artifact, plan, runtime))
    spec, subject = metering.spec, artifact.path.name
    record = _Record(subject, spec, listener)
    started_utc = datetime.now(UTC).isoformat(timespec="milliseconds")
    deadline_s = START_S + 4 * plan.warmup_s + spec["max_duration_s"] + metering.idle_s
    with metering:
        end = run_worker(session, spec, metering.tap(record.hear), deadline_s, subject)
        with _told_plainly(session):
            repeat = metering.complete(replace(record.repeat(index, end, started_utc), footprint=footprint))
    if not repeat.samples_ns:
        raise RunFailed(f"{session.profile.name}: the run ended without a sample.", "Measure again.")
    return repeat


def _measure_footprint(session: Session, artifact: Artifact, plan: BenchPlan, runtime: str) -> Footprint:
    # A pass of its own: neither samples nor another process's readings are in its memory.
    facts: dict[str, Mapping[str, Any]] = {}
    spec = {"kind": "footprint", **model_spec(artifact, plan, runtime), "runs": _FOOTPRINT_RUNS, "seed": plan.seed}
    deadline_s = START_S + plan.max_duration_s
    run_worker(session, spec, lambda event: facts.update({event["kind"]: event}), deadline_s, artifact.path.name)
    with _told_plainly(session):
        found, loaded, before = facts["footprint"], facts["loaded"], facts["started"]["memory_before_bytes"]
        peak = found["peak_memory_bytes"]
        return Footprint(
            first_load_ns=int(loaded["load_ns"]),
            warm_load_ns=int(found["warm_load_ns"]),
            peak_memory_bytes=None if peak is None else int(peak),
            memory_before_bytes=None if before is None else int(before),
            layers=layer_times(session, artifact, plan)
            if plan.provider.lower() not in ("auto", "cpu", "xnnpack")
            else (),
        )


@contextmanager
def _told_plainly(session: Session) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(
            f"{session.profile.name}: the agent told of a latency run in a way that is not understood ({error!r}).",
            "Let host and agent be of the same version.",
        ) from error


def latency_spec(artifact: Artifact, plan: BenchPlan, runtime: str) -> dict[str, Any]:
    """Return what one repeat asks of the agent.

    Args:
        artifact: What to measure.
        plan: Totals over all repeats.
        runtime: The runtime's name.

    Returns:
        A spec of kind "latency", see docs/wire.md.
    """
    duration_s = plan.min_duration_s / plan.repeats
    return {
        "kind": "latency",
        **model_spec(artifact, plan, runtime),
        "warmup_s": plan.warmup_s,
        "warmup_runs": plan.warmup_runs,
        "min_duration_s": duration_s,
        "min_runs": math.ceil(plan.min_runs / plan.repeats),
        "max_duration_s": plan.max_duration_s / plan.repeats,
        "period_s": 1 / plan.rate_hz if plan.rate_hz else 0.0,
        "state_period_s": min(max(duration_s / _READINGS, _SHORTEST_PERIOD_S), _LONGEST_PERIOD_S),
        "seed": plan.seed,
        "inputs": None,
    }


class _Record:
    """Takes the events of a latency run as they come."""

    def __init__(self, subject: str, spec: Mapping[str, Any], listener: Listener) -> None:
        self._subject, self._spec, self._listener = subject, spec, listener
        self._facts: dict[str, Mapping[str, Any]] = {}
        self._samples: array[int] = array("q")
        self._states: list[BoardState] = []
        self._elapsed_ns = 0

    def hear(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "state":
            self._states.append(read_state(event))
            return
        if kind != "samples":
            self._facts[kind] = event
            if kind == "warm" and event.get("finite") is False:
                self._tell(f"{self._subject} gives NaN or infinity for random inputs; its latency may not be typical.")
            return
        samples = array("q", event["ns"])
        self._samples.extend(samples)
        self._elapsed_ns += sum(samples)
        self._tell()

    def _tell(self, message: str = "") -> None:
        done = len(self._samples)
        total = self._spec["min_runs"]
        if self._elapsed_ns:
            total = max(total, round(done * self._spec["min_duration_s"] * 1e9 / self._elapsed_ns), done)
        self._listener(Event("measure", self._subject, done, total, "samples", message))

    def repeat(self, index: int, end: Mapping[str, Any], started_utc: str) -> Repeat:
        started, loaded, warm = (self._facts[kind] for kind in ("started", "loaded", "warm"))
        peak, before = end["peak_memory_bytes"], started["memory_before_bytes"]
        return Repeat(
            index=index,
            samples_ns=self._samples,
            load_ns=int(loaded["load_ns"]),
            first_run_ns=int(warm["first_run_ns"]),
            warmup_runs=int(warm["runs"]),
            steady=bool(warm["steady"]),
            peak_memory_bytes=None if peak is None else int(peak),
            memory_before_bytes=None if before is None else int(before),
            runtime_version=str(started["version"]),
            providers=tuple(str(provider) for provider in loaded["providers"]),
            boot_id=str(started["boot_id"]),
            started_utc=started_utc,
            board=tuple(self._states),
            timed_from_ns=int(warm["at_ns"]),
        )


def summarise(
    artifact: Artifact,
    plan: BenchPlan,
    repeats: Sequence[Repeat],
    *,
    device: str,
    info: DeviceInfo,
    variant: Variant | None = None,
    device_accuracy: float | None = None,
) -> Measurement:
    """Make one measurement of its repeats. Pure: the same repeats give the same measurement.

    Args:
        artifact: What ran.
        plan: How.
        repeats: Raw samples, at least one repeat.
        device: The device's name.
        info: What its agent says of it.
        variant: What the artifact was made of, if we made it.
        device_accuracy: Its accuracy on this board, if it was evaluated there.

    Returns:
        The measurement.

    Raises:
        UsageError: There are no repeats.
    """
    if not repeats:
        raise UsageError(f"{artifact.path.name} has no repeats to summarise.", "Measure it first.")
    repeats = sorted(repeats, key=lambda repeat: repeat.index)
    verdict = judge(plan, repeats)
    peak_memory_bytes = _peak(repeats)
    energy = energy_of(repeats)
    missing = dict(energy.missing)
    if peak_memory_bytes is None:
        missing["memory"] = "the board's kernel does not tell the peak memory of a process"
    if device_accuracy is None:
        missing["device_accuracy"] = "not evaluated on the device"
    return Measurement(
        artifact=artifact,
        device=device,
        device_id=info.device_id,
        plan=plan,
        latency=latency_stats(repeats, seed=plan.seed, rate_hz=plan.rate_hz),
        peak_memory_bytes=peak_memory_bytes,
        device_accuracy=device_accuracy,
        verdict=verdict.name,
        verdict_reason=verdict.reason,
        energy=energy.stats,
        missing=missing,
        environment=_environment(artifact, plan, repeats, info) | _rejected(energy),
        variant=variant,
    )


def _peak(repeats: Sequence[Repeat]) -> int | None:
    # Of the pass of its own; where a store has none of it, of the workers that timed.
    alone = [repeat.footprint.peak_memory_bytes for repeat in repeats if repeat.footprint]
    peaks = [peak for peak in alone or [repeat.peak_memory_bytes for repeat in repeats] if peak is not None]
    return int(np.median(peaks)) if peaks else None


def _rejected(energy: EnergyResult) -> dict[str, str]:
    return {"energy_rejected": " ".join(energy.rejected)} if energy.rejected else {}


def _environment(artifact: Artifact, plan: BenchPlan, repeats: Sequence[Repeat], info: DeviceInfo) -> dict[str, str]:
    runtime = RUNTIMES_OF_FORMAT[artifact.format][0] if plan.runtime == "auto" else plan.runtime
    return {
        "runtime": runtime,
        "runtime_version": _each(repeat.runtime_version for repeat in repeats),
        "providers": _each(" ".join(repeat.providers) for repeat in repeats),
        "boot_ids": _each(repeat.boot_id for repeat in repeats),
        "steady_repeats": f"{sum(repeat.steady for repeat in repeats)} of {len(repeats)}",
        "board": info.model,
        "os": info.os,
        "kernel": info.kernel,
        "arch": info.arch,
        "python": info.python,
        "agent": info.agent,
        "agent_sha256": info.agent_sha256,
        **dict({"governor": info.governor or "none"}, **evidence.in_words(repeats)),
    }


def _each(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))

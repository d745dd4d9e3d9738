"""A board -> its profile, by small networks of ours or a model of the user's; needs no torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeprune import measuring
from edgeprune.config import Config
from edgeprune.devices import Session, connect, resolve
from edgeprune.exporting.loading import load_artifact
from edgeprune.exporting.probe import probe_network
from edgeprune.measuring import evidence
from edgeprune.measuring.energy_window import idle_power
from edgeprune.measuring.latency import latency_stats
from edgeprune.measuring.live_power import NO_METER
from edgeprune.values.artifact import Artifact
from edgeprune.values.board_profile import BoardProfile, HeatPoint, Point
from edgeprune.values.device import DeviceProfile
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.measurement import Measurement, Repeat
from edgeprune.values.plan import BenchPlan

WIDTHS = tuple(range(4, 68, 4))
BATCHES = (1, 2, 4, 8)
WIDTH = 32
"""Of the network that runs at several threads and batches, where the user gives none."""
_PLAN = BenchPlan(
    "profile", warmup_s=0.2, min_duration_s=0.6, max_duration_s=20.0, min_runs=20, repeats=1, max_wait_ratio=1.0
)


@dataclass(frozen=True, slots=True)
class Questions:
    """What a profile is to find out.

    Attributes:
        model: A file of the user's for threads and heat; None for our probe.
        minutes: How long the load lasts that shows the heat; 0 for none.
        widths: For the stairs.
        batches: For the batch.
        meter: Address of what reads the idle power; "" for the device's own.
    """

    model: Path | None = None
    minutes: float = 1.0
    widths: Sequence[int] = WIDTHS
    batches: Sequence[int] = BATCHES
    meter: str = ""


def profile_board(
    device: str | DeviceProfile,
    questions: Questions | None = None,
    *,
    config: Config | None = None,
    listener: Listener = ignore,
) -> BoardProfile:
    """Find out how a board's latency goes with threads, batch, width and heat.

    Args:
        device: Name, tag or address of the board, or its profile.
        questions: What to find out; None for all.
        config: Whose devices are known by name, too.
        listener: Told of every step.

    Returns:
        The answers.
    """
    profile = resolve(device, config.devices if config else None)
    with (
        tempfile.TemporaryDirectory() as folder,
        connect(profile, listener=listener) as session,
    ):
        return _Profiler(session, Path(folder), questions or Questions(), listener).answer()


@dataclass(frozen=True, slots=True)
class _Idle:
    power_w: float | None
    source: str
    missing: str


class _Profiler:
    def __init__(self, session: Session, folder: Path, questions: Questions, listener: Listener) -> None:
        self._session, self._folder, self._ask, self._listener = session, folder, questions, listener
        self._model = load_artifact(questions.model) if questions.model else probe_network(folder, WIDTH)

    def answer(self) -> BoardProfile:
        idle = self._idle()  # first, while the board is cool
        threads = self._series("threads", self._thread_counts(), lambda n: (self._model, n))
        batch: tuple[Point, ...] = ()
        if self._ask.model is None:
            batch = self._series("batch", self._ask.batches, lambda n: (probe_network(self._folder, WIDTH, n), 1))
        stairs = self._series("width", self._ask.widths, lambda n: (probe_network(self._folder, n), 1))
        heat = self._heat()
        return BoardProfile(
            device=self._session.profile.name,
            device_id=self._session.info.device_id,
            model=self._model.path.name,
            threads=threads,
            batch=batch,
            stairs=stairs,
            wasteful=wasteful(stairs),
            heat=_curve(heat),
            minute_p50_s=tuple(median for repeat in heat for median in _minutes(repeat)),
            throttling=evidence.throttling(heat),
            idle_power_w=idle.power_w,
            power_source=idle.source,
            missing=self._missing(idle, heat),
        )

    def _thread_counts(self) -> list[int]:
        most = self._session.info.cpu_count
        return sorted({*(1 << k for k in range(most.bit_length())), most})

    def _series(
        self, name: str, values: Sequence[int], make: Callable[[int], tuple[Artifact, int]]
    ) -> tuple[Point, ...]:
        points = []
        for done, value in enumerate(values):
            self._listener(Event("measure", name, done, len(values), "points"))
            artifact, threads = make(value)
            points.append(_point(value, self._once(artifact, replace(_PLAN, threads=threads))))
        self._listener(Event("measure", name, len(values), len(values), "points"))
        return tuple(points)

    def _once(self, artifact: Artifact, plan: BenchPlan) -> Measurement:
        # Index 1: the pass for loading and memory, which comes before the first repeat, is not asked for.
        repeat = measuring.measure_repeat(self._session, artifact, plan, 1)
        name, info = self._session.profile.name, self._session.info
        return measuring.summarise(artifact, plan, [repeat], device=name, info=info)

    def _heat(self) -> list[Repeat]:
        if self._ask.minutes <= 0:
            return []
        seconds = 60 * self._ask.minutes
        plan = replace(_PLAN, threads=self._session.info.cpu_count, min_duration_s=seconds, max_duration_s=seconds + 60)
        return [measuring.measure_repeat(self._session, self._model, plan, 1, self._listener)]

    def _idle(self) -> _Idle:
        power = measuring.power_for(self._session, self._ask.meter or self._session.profile.meter, self._listener)
        if power.source is None:
            return _Idle(None, "", power.missing or NO_METER)
        repeat = measuring.measure_repeat(self._session, self._model, _PLAN, 1, self._listener, power)
        if repeat.power is None or repeat.load is None:
            return _Idle(None, "", repeat.power_missing)
        power_w, reason = idle_power(repeat.power, repeat.load)
        meter = repeat.power.meter
        return _Idle(power_w, f"{meter.source}, {meter.boundary}" if power_w is not None else "", reason)

    def _missing(self, idle: _Idle, heat: Sequence[Repeat]) -> dict[str, str]:
        missing = {"idle_power": idle.missing} if idle.power_w is None else {}
        if not heat:
            missing["heat"] = "not asked for"
        elif evidence.temperatures_c(heat) is None:
            missing["heat"] = "the board has no readable temperature sensor"
        if not any(state.throttle for repeat in heat for state in repeat.board):
            missing["throttling"] = "the board has no readable sign of it" if heat else "not asked for"
        if self._ask.model is not None:
            missing["batch"] = "the batch of a given model is its own"
        return missing


def _minutes(repeat: Repeat) -> Sequence[float]:
    return latency_stats([repeat]).minute_p50_s


def _point(value: int, m: Measurement) -> Point:
    return Point(value, m.latency.p50_s, m.latency.p50_ci_s, m.verdict)


def wasteful(stairs: Sequence[Point]) -> tuple[int, ...]:
    """Return the widths whose whole interval lies above that of a larger width: to prune to them is a loss.

    Args:
        stairs: Points by width.

    Returns:
        Widths, ascending.
    """
    slower = {a.value for a in stairs for b in stairs if b.value > a.value and a.p50_ci_s[0] > b.p50_ci_s[1]}
    return tuple(sorted(slower))


def _curve(heat: Sequence[Repeat]) -> tuple[HeatPoint, ...]:
    points = []
    for repeat in heat:
        for state in evidence.timed(repeat):
            at_s = (state.at_ns - repeat.timed_from_ns) * 1e-9
            points.append(HeatPoint(at_s, state.hottest_c, evidence.clock_hz(state)))
    return tuple(points)

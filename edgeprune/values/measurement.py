"""What was measured of one variant, on one device, by one plan."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeprune.values.artifact import Artifact
from edgeprune.values.board_state import BoardState
from edgeprune.values.json import content_id
from edgeprune.values.layer import LayerTime
from edgeprune.values.plan import BenchPlan
from edgeprune.values.power import LoadWindow, PowerTrace
from edgeprune.values.variant import Variant

VERDICTS = ("ok", "unstable", "throttled", "clocks_unpinned", "fallback_cpu", "inconclusive")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a pass of its own found out about loading and memory.

    Attributes:
        first_load_ns: From opening the file, which the page cache did not hold, to a session that can run.
        warm_load_ns: The same again in that process.
        peak_memory_bytes: VmHWM after a few runs of the first session; None where the kernel does not say.
        memory_before_bytes: VmHWM before the model was opened, the runtime being imported.
        layers: Each node and what ran it, where another provider than the CPU was asked for.
    """

    first_load_ns: int
    warm_load_ns: int
    peak_memory_bytes: int | None
    memory_before_bytes: int | None
    layers: tuple[LayerTime, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeat:
    """The raw samples of one fresh process.

    Attributes:
        index: 0-based number of the repeat.
        samples_ns: Latency of each run, in order, CLOCK_MONOTONIC.
        load_ns: From opening the file to a session that can run.
        first_run_ns: The very first run, warm-up included nowhere else.
        warmup_runs: Runs thrown away before the first sample.
        steady: Whether the warm-up ended because the latency was steady.
        peak_memory_bytes: VmHWM of the worker after the last run; None where the kernel does not say.
        memory_before_bytes: VmHWM before the model was opened; the difference is the model's.
        runtime_version: Of the runtime that ran it.
        providers: Execution providers in use.
        boot_id: Of the boot in which it ran.
        started_utc: ISO 8601, by the host's clock.
        board: The board's state before the model was opened, every now and then while it ran, and after the last run.
        timed_from_ns: When the warm-up was over, by the clock of `board`.
        footprint: What the pass before the first repeat found; None for the others.
        load: When the inferences ran; None where no energy was to be measured.
        power: What the meter read; None without a meter, or
        power_missing: why a meter read nothing.
    """

    index: int
    samples_ns: array[int]
    load_ns: int
    first_run_ns: int
    warmup_runs: int
    steady: bool
    peak_memory_bytes: int | None
    memory_before_bytes: int | None
    runtime_version: str
    providers: tuple[str, ...]
    boot_id: str
    started_utc: str
    board: tuple[BoardState, ...] = ()
    timed_from_ns: int = 0
    footprint: Footprint | None = None
    load: LoadWindow | None = None
    power: PowerTrace | None = None
    power_missing: str = ""


@dataclass(frozen=True, slots=True)
class LatencyStats:
    """Latency of single inferences, every sample kept.

    Attributes:
        n: Samples over all repeats.
        p50_s: Median.
        p50_ci_s: 95 % bootstrap interval of the median; whole repeats are resampled first, then their samples.
        p90_s: None where n is under 64, p95_s under 130, p99_s under 662 (99 % confidence).
        p95_s: See p90_s.
        p99_s: See p90_s.
        mean_s: Arithmetic mean.
        min_s: Fastest run.
        max_s: Slowest run.
        cv_ratio: Standard deviation over mean.
        mad_s: Median absolute deviation from the median.
        n_outliers: Samples beyond 3 interquartile ranges (Tukey's far fences); flagged, never dropped.
        load_s: Median time to load the model.
        first_run_s: Median first run.
        samples_ns: The samples, repeat after repeat.
        repeat_p50_s: Median of each repeat.
        minute_p50_s: Median of each full minute of a repeat; empty where repeats are shorter.
        p90_bound_s: With 99 % confidence the percentile is not above this; None where `p90_s` is, and so for
        p95_bound_s: p95_s,
        p99_bound_s: and p99_s.
        first_load_s: Time to load the model from the disk into a fresh process; None if that was not measured.
        warm_load_s: Time to load it again in that process.
    """

    n: int
    p50_s: float
    p50_ci_s: tuple[float, float]
    p90_s: float | None
    p95_s: float | None
    p99_s: float | None
    mean_s: float
    min_s: float
    max_s: float
    cv_ratio: float
    mad_s: float
    n_outliers: int
    load_s: float
    first_run_s: float
    samples_ns: array[int] = field(repr=False)
    repeat_p50_s: tuple[float, ...] = ()
    minute_p50_s: tuple[float, ...] = ()
    p90_bound_s: float | None = None
    p95_bound_s: float | None = None
    p99_bound_s: float | None = None
    first_load_s: float | None = None
    warm_load_s: float | None = None


@dataclass(frozen=True, slots=True)
class EnergyStats:
    """Energy of one inference, the agent's own share of the loop included.

    Attributes:
        per_inference_j: Gross: all that the boundary took while inferences ran, over their number.
        net_per_inference_j: What idling would have taken subtracted; None if the idle pads do not tell it.
        source: Sensor and rail.
        boundary: What the rail feeds, one of `edgeprune.values.power.BOUNDARIES`.
        fidelity: Tier of the source, one of `edgeprune.values.power.FIDELITIES`.
        uncertainty_j: Half of the 95 % interval of `per_inference_j`, scale and zero of the meter included.
        repeatability_j: The same without scale and zero, which variants on one meter have in common; None if unknown.
        net_uncertainty_j: As `uncertainty_j`, of the net energy; None if there is none.
        mean_w: Power while inferences ran.
        idle_w: Power of the loaded, idle board; None if unknown.
        n_windows: Repeats whose readings were credible.
        estimator: "padded-net" or "interior-mean".
        clock_bound_s: How far the meter's times may be from the board's.
    """

    per_inference_j: float
    net_per_inference_j: float | None
    source: str
    boundary: str
    fidelity: str
    uncertainty_j: float
    repeatability_j: float | None = None
    net_uncertainty_j: float | None = None
    mean_w: float | None = None
    idle_w: float | None = None
    n_windows: int = 1
    estimator: str = ""
    clock_bound_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One (artifact, device, plan), summarised from its repeats.

    Attributes:
        artifact: What ran.
        device: The device's name, and
        device_id: its identity.
        plan: How it was measured.
        latency: From the raw samples.
        peak_memory_bytes: Peak resident memory of a worker that only loads and runs the model; None where unknown.
        device_accuracy: The metric of this artifact on this device; None if not evaluated.
        verdict: One of `VERDICTS`,
        verdict_reason: and why; "" for ok.
        energy: None if not measured.
        missing: For each quantity that is None, the reason.
        environment: Runtime and version, providers, boot ids, board, agent.
        variant: None for a file that we did not make.
    """

    artifact: Artifact
    device: str
    device_id: str
    plan: BenchPlan
    latency: LatencyStats
    peak_memory_bytes: int | None
    device_accuracy: float | None
    verdict: str
    verdict_reason: str = ""
    energy: EnergyStats | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    variant: Variant | None = None

    @property
    def id(self) -> str:
        """Content hash over what ran and how: the variant (or the file) and the plan, 16 hex digits."""
        return content_id(self.variant.id if self.variant else self.artifact.sha256, self.plan)

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return self.variant.label if self.variant else self.artifact.path.name

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the device, or on the host where the device was not asked."""
        if self.device_accuracy is not None:
            return self.device_accuracy
        return self.variant.accuracy if self.variant else None

    def quantity(self, name: str) -> float | None:
        """Return a measured quantity of `edgeprune.units.QUANTITIES` in its base unit; None if not measured.

        "accuracy_drop" is relative to a baseline and not known here.
        """
        return {
            "latency": self.latency.p50_s,
            "p95_latency": self.latency.p95_s,
            "energy": self.energy.per_inference_j if self.energy else None,
            "size": float(self.artifact.size_bytes),
            "memory": None if self.peak_memory_bytes is None else float(self.peak_memory_bytes),
            "accuracy": self.accuracy,
        }.get(name)

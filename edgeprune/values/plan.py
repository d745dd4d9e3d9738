"""How to measure; part of the identity of every result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeprune.errors import UnknownName, UsageError
from edgeprune.values.json import content_id


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """A latency protocol.

    Durations and counts are totals over all repeats. A repeat is a fresh process: it loads the model, warms up,
    then runs until both its share of the duration and its share of the runs are reached.

    Attributes:
        name: "quick", "default", "strict", "sustained", "duty", "tiny", or "custom".
        warmup_s: Warm up at least this long in each repeat,
        warmup_runs: at least this many runs, and until the latency is steady or four times `warmup_s` have passed.
        min_duration_s: Measure at least this long,
        min_runs: and at least this many runs: p95 needs 130 at 99 % confidence, p99 needs 662.
        max_duration_s: Stop here whatever is missing; the verdict then says so.
        repeats: Fresh processes, interleaved between variants.
        threads: Of the runtime.
        runtime: "onnxruntime", "litert", or "auto" for the format's own.
        seed: Of the random inputs.
        meter: Address of what reads power; "" for the device's own.
        cool_s: Before each repeat but the first, wait at most this long until the board is as cool as before the first.
        max_wait_ratio: Share of its time for which the worker may wait for a processor; beyond, the measurement is
            inconclusive. 1 takes any load.
        provider: What shall run the nodes: "CPU", "CUDA", "TensorRT", "XNNPACK"…; "auto" for the runtime's own.
        strict: Refuse a model of which a node would run on the CPU although another provider is asked for.
        rate_hz: Begin so many inferences a second and idle between them; 0 for one right after the other.

    Source:
        MLCommons Inference Rules, early stopping: samples needed per percentile at 99 % confidence.
    """

    name: str = "default"
    warmup_s: float = 1.0
    warmup_runs: int = 5
    min_duration_s: float = 10.0
    min_runs: int = 130
    max_duration_s: float = 60.0
    repeats: int = 3
    threads: int = 1
    runtime: str = "auto"
    seed: int = 0
    meter: str = ""
    cool_s: float = 60.0
    max_wait_ratio: float = 0.25
    rate_hz: float = 0.0
    provider: str = "auto"
    strict: bool = False

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.threads < 1 or self.min_runs < 1 or self.warmup_runs < 0:
            raise UsageError("A bench plan value is out of range.", "repeats, threads and min_runs start at 1.")
        if self.rate_hz < 0 or self.cool_s < 0 or not 0 < self.max_wait_ratio <= 1:
            raise UsageError(
                "A bench plan value is out of range.", "rate_hz and cool_s start at 0, 0 < max_wait_ratio <= 1."
            )
        if not self.warmup_s >= 0 or not 0 < self.min_duration_s <= self.max_duration_s:
            raise UsageError(
                "The durations of a bench plan do not fit.", "0 <= warmup_s, 0 < min_duration_s <= max_duration_s."
            )

    @property
    def id(self) -> str:
        """Content hash, 16 hex digits."""
        return content_id(self)

    @classmethod
    def named(cls, name: str, *, threads: int = 1, runtime: str = "auto", rate_hz: float | None = None) -> BenchPlan:
        """Return a plan by name.

        Args:
            name: A key of `PLANS`.
            threads: Of the runtime.
            runtime: "onnxruntime", "litert" or "auto".
            rate_hz: Inferences a second; None for the plan's own.

        Returns:
            The plan.

        Raises:
            UnknownName: There is no such plan.
        """
        if name not in PLANS:
            raise UnknownName("bench plan", name, PLANS)
        plan = replace(PLANS[name], threads=threads, runtime=runtime)
        return plan if rate_hz is None else replace(plan, rate_hz=rate_hz)


PLANS: dict[str, BenchPlan] = {
    "quick": BenchPlan("quick", warmup_s=0.3, min_duration_s=3.0, max_duration_s=20.0, cool_s=0.0, max_wait_ratio=1.0),
    "default": BenchPlan(),
    "strict": BenchPlan("strict", min_duration_s=60.0, min_runs=662, max_duration_s=300.0, cool_s=600.0),
    "sustained": BenchPlan("sustained", min_duration_s=600.0, max_duration_s=900.0, repeats=1),
    "duty": BenchPlan("duty", min_duration_s=15.0, rate_hz=10.0),
    "tiny": BenchPlan("tiny", min_duration_s=50.0, min_runs=50, max_duration_s=300.0, repeats=5),
}
"""Source of "tiny": MLCommons Tiny, five windows of at least 10 s, of which the median counts."""

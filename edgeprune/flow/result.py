"""What a run found, and its JSON as INTERFACE promises it to scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeprune.choosing import ParetoFront
from edgeprune.values.choice import Choice
from edgeprune.values.measurement import Measurement
from edgeprune.values.release import Release


@dataclass(frozen=True, slots=True)
class RunResult:
    """The evidence of one run on one device.

    Attributes:
        run: Its id in the store.
        device: The device's name.
        front: All measurements, ranked.
        choice: The decision; None if the run only looked for the front and nothing fits.
        release: What is installed; None if nothing was to be.
        failed: Variants that could not be exported or measured: label and reason.
        device_time_s: Time spent on the board by this call, s.
        wall_s: Time of this call, s.
    """

    run: str
    device: str
    front: ParetoFront
    choice: Choice | None
    release: Release | None = None
    failed: tuple[tuple[str, str], ...] = ()
    device_time_s: float = 0.0
    wall_s: float = 0.0

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All measurements, the fastest first."""
        both = [*self.front.front, *self.front.dominated]
        return tuple(sorted(both, key=lambda m: (m.latency.p50_s, m.id)))

    def to_data(self) -> dict[str, Any]:
        """Return the run as JSON data (`deploy --json`, `search --json`)."""
        winner = self.choice.winner if self.choice else None
        return {
            "run": self.run,
            "device": self.device,
            "baseline": variant_data(self.front.baseline) if self.front.baseline else None,
            "variants": [variant_data(m) for m in self.measurements],
            "front": [m.id for m in self.front.front],
            "winner": variant_data(winner) if winner else None,
            "reason": self.choice.reason if self.choice else "",
            "release": release_data(self.release) if self.release else None,
            "verdict": winner.verdict if winner else "inconclusive",
            "failed": [{"label": label, "reason": reason} for label, reason in self.failed],
            "device_time_s": self.device_time_s,
            "wall_s": self.wall_s,
        }


def variant_data(m: Measurement) -> dict[str, Any]:
    """Return a measurement with what its variant says of itself; None means not measured."""
    v = m.variant
    return {
        "id": m.id,
        "method": v.method if v else None,
        "criterion": v.criterion if v else None,
        "ratio": v.ratio if v else None,
        "format": m.artifact.format,
        "precision": m.artifact.precision,
        "params": v.params if v else None,
        "macs": v.macs if v else None,
        "accuracy": v.accuracy if v else None,
        **measured_data(m),
    }


def measured_data(m: Measurement) -> dict[str, Any]:
    """Return the measured half: what `bench --json` prints, too."""
    return {
        "runtime": m.environment.get("runtime"),
        "threads": m.plan.threads,
        "size_bytes": m.artifact.size_bytes,
        "device_accuracy": m.device_accuracy,
        "latency": {
            "p50_s": m.latency.p50_s,
            "p50_ci_s": list(m.latency.p50_ci_s),
            "p90_s": m.latency.p90_s,
            "p95_s": m.latency.p95_s,
            "p99_s": m.latency.p99_s,
            "n": m.latency.n,
            "p90_bound_s": m.latency.p90_bound_s,
            "p95_bound_s": m.latency.p95_bound_s,
            "p99_bound_s": m.latency.p99_bound_s,
            "repeat_p50_s": list(m.latency.repeat_p50_s),
            "minute_p50_s": list(m.latency.minute_p50_s),
            "first_run_s": m.latency.first_run_s,
            "first_load_s": m.latency.first_load_s,
            "warm_load_s": m.latency.warm_load_s,
        },
        "energy": None
        if m.energy is None
        else {
            "per_inference_j": m.energy.per_inference_j,
            "net_per_inference_j": m.energy.net_per_inference_j,
            "source": m.energy.source,
            "boundary": m.energy.boundary,
            "fidelity": m.energy.fidelity,
            "uncertainty_j": m.energy.uncertainty_j,
            "repeatability_j": m.energy.repeatability_j,
            "net_uncertainty_j": m.energy.net_uncertainty_j,
            "mean_w": m.energy.mean_w,
            "idle_w": m.energy.idle_w,
            "n_windows": m.energy.n_windows,
            "estimator": m.energy.estimator,
        },
        "peak_memory_bytes": m.peak_memory_bytes,
        "verdict": m.verdict,
        "verdict_reason": m.verdict_reason,
        "missing": dict(m.missing),
    }


def release_data(release: Release) -> dict[str, Any]:
    """Return a release: its name on the board, its path and what `rollback` returns to."""
    return {
        "name": release.id,
        "model": release.model,
        "path": release.path,
        "previous": release.previous,
        "sha256": release.sha256,
        "label": release.label,
        "checked_utc": release.checked_utc,
    }

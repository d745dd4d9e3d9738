"""Results -> what a person reads in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgeprune import units
from edgeprune.cli._group_bars import groups_view, size_lines
from edgeprune.cli._packed_rows import packed_rows
from edgeprune.searching import Candidate
from edgeprune.values.artifact import Artifact
from edgeprune.values.device import DeviceInfo, DeviceProfile
from edgeprune.values.measurement import EnergyStats, Measurement
from edgeprune.values.release import Release

if TYPE_CHECKING:
    from edgeprune.flow import Finding, PruneSummary, RunResult


def run_view(result: RunResult) -> RenderableType:
    """Return a view of a run: all variants, the winner and its reason, what failed, what is installed."""
    parts: list[RenderableType] = [_variants_table(result)]
    for label, reason in result.failed:
        parts.append(Text.assemble(("failed  ", "red"), f"{label}: {reason}"))
    if result.choice:
        parts.append(Text.assemble(("winner  ", "bold green"), (result.choice.winner.label, "bold")))
        parts.append(Padding(Text(result.choice.reason), (0, 0, 0, 8)))
    if result.release:
        parts.append(Text.assemble(("release ", "bold green"), result.release.path))
    for quantity, reason in _missing(result.measurements).items():
        parts.append(Text(f"{quantity}: {reason}", style="dim"))
    waited = units.format_duration(result.wall_s)
    spent = f"{waited}, {units.format_duration(result.device_time_s)} of it on {result.device}"
    parts.append(Text(f"run {result.run}  {spent}" if result.wall_s else f"run {result.run}", style="dim"))
    return Group(*parts)


def measurement_view(measurement: Measurement, info: DeviceInfo) -> RenderableType:
    """Return a view of one measurement and where it was made."""
    m = measurement
    rows = {
        "model": f"{m.label}  ({units.format_quantity(m.artifact.size_bytes, 'bytes')})",
        "device": f"{m.device}: {info.model}, {info.os}",
        "runtime": _runtime(m),
        "p50": f"{_time(m.latency.p50_s)}  95 % interval {_interval(m)}",
        "p90, p95, p99": ", ".join(_time(p) for p in (m.latency.p90_s, m.latency.p95_s, m.latency.p99_s)),
        "99 % bounds": ", ".join(
            _time(p) for p in (m.latency.p90_bound_s, m.latency.p95_bound_s, m.latency.p99_bound_s)
        ),
        **_minutes(m),
        "samples": f"{m.latency.n} in {m.plan.repeats} processes, {m.latency.n_outliers} outliers kept",
        "load": f"{_time(m.latency.first_load_s)} from the disk, {_time(m.latency.warm_load_s)} again",
        "first run": _time(m.latency.first_run_s),
        "peak memory": "–" if m.peak_memory_bytes is None else units.format_quantity(m.peak_memory_bytes, "bytes"),
        "board": _board(m),
        "energy": m.missing.get("energy", "") if m.energy is None else _energy(m.energy),
        "verdict": f"{m.verdict}: {m.verdict_reason}" if m.verdict_reason else m.verdict,
    }
    if info.counts_instructions:
        rows["time"] = m.environment["time_base"]
    return _facts(rows)


def _minutes(m: Measurement) -> dict[str, str]:
    medians = m.latency.minute_p50_s
    return {"minutes": " ".join(_time(median) for median in medians)} if medians else {}


def _board(m: Measurement) -> str:
    names = ("temperature", "clock", "governor", "power_mode", "throttling", "load_by_others", "waited")
    known = {name: m.environment.get(name, "unknown") for name in names}
    told = [f"{name.replace('_', ' ')} {words}" for name, words in known.items() if words not in ("unknown", "none")]
    return ", ".join(told) or "tells nothing of its clocks, heat and load"


def _energy(energy: EnergyStats) -> str:
    gross, margin = (units.format_quantity(value, "j") for value in (energy.per_inference_j, energy.uncertainty_j))
    net = energy.net_per_inference_j
    parts = [f"{gross} ± {margin}", f"{energy.source} ({energy.boundary}, {energy.fidelity})"]
    return ", ".join(parts if net is None else [parts[0], f"net {units.format_quantity(net, 'j')}", parts[1]])


def prune_view(summary: PruneSummary) -> RenderableType:
    """Return a view of what a prune removed, group by group."""
    proof = summary.proof
    return Group(
        groups_view(summary.groups),
        Text(f"parameters {summary.params_before:,} → {summary.params_after:,}"),
        Text(f"MACs       {summary.macs_before:,} → {summary.macs_after:,}"),
        *size_lines(summary.size),
        Text(f"proof      reference = pruned to {proof.max_relative:.1e} (bound {proof.tolerance:.0e})"),
        *(Text(f"note       {note}", style="dim") for note in summary.notes),
        Text(f"written to {summary.folder}", style="bold"),
    )


def artifact_view(artifact: Artifact) -> RenderableType:
    """Return a view of an artifact and its parity."""
    rows = {
        "file": f"{artifact.path}  ({units.format_quantity(artifact.size_bytes, 'bytes')})",
        "sha256": artifact.sha256,
        "inputs": ", ".join(f"{t.name} {list(t.shape)} {t.dtype}" for t in artifact.inputs),
        "outputs": ", ".join(f"{t.name} {list(t.shape)} {t.dtype}" for t in artifact.outputs),
    }
    if parity := artifact.parity:
        if parity.pruning_max_relative is not None:
            rows["pruning proof"] = f"max |Δ| {parity.pruning_max_relative:.1e} of the largest output, before training"
        mean = "" if parity.conversion_mean_abs is None else f", mean {parity.conversion_mean_abs:.2e}"
        rows["conversion error"] = f"max |Δ| {parity.conversion_max_abs:.2e}{mean} on {parity.n_inputs} inputs"
        if parity.quantization_max_abs is not None:
            rows["quantization error"] = (
                f"max |Δ| {parity.quantization_max_abs:.2e}, mean {parity.quantization_mean_abs:.2e}"
            )
        if parity.top1_agreement_ratio is not None:
            rows["top-1 agreement"] = units.format_quantity(parity.top1_agreement_ratio, "ratio")
        if parity.random and parity.random.whole_max_relative is not None:
            rows["on random inputs"] = f"max |Δ| {parity.random.whole_max_relative:.2e} of the largest output"
    if artifact.float_layers:
        rows["left in float"] = ", ".join(artifact.float_layers)
    if artifact.packed:
        rows |= packed_rows(artifact.packed)
    return _facts(rows)


def device_view(profile: DeviceProfile, info: DeviceInfo) -> RenderableType:
    """Return a view of what a board says of itself."""
    memory = "unknown" if info.memory_bytes is None else units.format_quantity(info.memory_bytes, "bytes")
    rows = {
        "device": f"{profile.name}  {profile.address}",
        "id": info.device_id,
        "board": info.model,
        "system": f"{info.os}, kernel {info.kernel}, {info.arch}, Python {info.python}",
        "processors": f"{info.cpu_count}, governor {info.governor or 'not readable'}",
        "memory": memory,
        "disk free": units.format_quantity(info.disk_free_bytes, "bytes"),
        "agent": f"{info.agent}  {info.agent_sha256[:16]}",
    }
    for runtime in info.runtimes:
        rows[runtime.name] = f"{runtime.version}  {', '.join(runtime.providers)}" if runtime.version else runtime.reason
    rows["sensors"] = ", ".join(info.sensors) or "none"
    return _facts(rows)


def devices_view(profiles: Sequence[DeviceProfile]) -> RenderableType:
    """Return a view of the known devices."""
    table = _table("name", "address", "profile", "meter", "tags")
    for p in profiles:
        table.add_row(p.name, p.address, p.board or "–", p.meter, ", ".join(f"{k}={v}" for k, v in p.tags.items()))
    return table


def releases_view(releases: Sequence[Release]) -> RenderableType:
    """Return a view of what is installed on a board."""
    table = _table("", "model", "release", "variant", "checked", "path")
    for r in releases:
        table.add_row("current" if r.current else "", r.model, r.id, r.label, r.checked_utc, r.path)
    return table


def plan_view(candidates: Sequence[Candidate], device_time_s: float) -> RenderableType:
    """Return a view of what a search would try."""
    table = _table("method", "criterion", "ratio", "format", "precision", "threads")
    for c in candidates:
        share = 100 * (c.prune.ratio or c.prune.sparsity or 0) if c.prune else 0
        pruned = (c.prune.method, c.prune.criterion, f"{share:.0f} %") if c.prune else ("dense", "", "")
        table.add_row(*pruned, c.export.format, c.export.precision, str(c.plan.threads))
    waiting = units.format_duration(device_time_s)
    return Group(table, Text(f"{len(candidates)} variants, at least {waiting} on the board if nothing is measured yet"))


def findings_view(findings: Sequence[Finding]) -> RenderableType:
    """Return a view of what doctor found, and the fix beside what is wrong."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for f in findings:
        mark = Text("ok", style="green") if f.ok else Text("fix", style="bold red")
        table.add_row(mark, f.subject, f.found if f.ok else f"{f.found}\n{f.fix}")
    return table


def _variants_table(result: RunResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for column in ("params", "size", "accuracy", "p50", "95 % of p50", "p95", "speed-up", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    front = {m.id for m in result.front.front}
    winner = result.choice.winner.id if result.choice else None
    for m in result.measurements:
        mark = "winner" if m.id == winner else "front" if m.id in front else ""
        style = "bold green" if m.id == winner else "" if m.id in front else "dim"
        table.add_row(*_variant_row(m, result.front.baseline), f"{mark} {_doubt(m)}".strip(), style=style)
    return table


def _variant_row(m: Measurement, baseline: Measurement | None) -> list[str]:
    return [
        f"{m.label}, {m.plan.threads} threads" if m.plan.threads > 1 else m.label,
        f"{m.variant.params:,}" if m.variant and m.variant.params is not None else "–",
        units.format_quantity(m.artifact.size_bytes, "bytes"),
        "–" if m.accuracy is None else units.format_quantity(m.accuracy, "ratio"),
        _time(m.latency.p50_s),
        _interval(m),
        _time(m.latency.p95_s),
        f"{baseline.latency.p50_s / m.latency.p50_s:.2f}x" if baseline else "–",
        "–" if m.peak_memory_bytes is None else units.format_quantity(m.peak_memory_bytes, "bytes"),
    ]


def _runtime(m: Measurement) -> str:
    threads = f"{m.plan.threads} thread{'s' if m.plan.threads > 1 else ''}"
    return f"{m.environment.get('runtime', '')} {m.environment.get('runtime_version', '')}, {threads}"


def _interval(m: Measurement) -> str:
    low, high = (_time(bound) for bound in m.latency.p50_ci_s)
    (low_number, low_unit), (_, high_unit) = low.split(), high.split()
    return f"{low_number} – {high}" if low_unit == high_unit else f"{low} – {high}"


def _doubt(m: Measurement) -> str:
    return "" if m.verdict == "ok" else m.verdict


def _missing(measurements: Sequence[Measurement]) -> dict[str, str]:
    return {quantity: reason for m in measurements for quantity, reason in m.missing.items()}


def _facts(rows: dict[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else units.format_quantity(seconds, "s")

"""A board whose power and clock are known exactly: it idles, computes and idles in real time, and tells of it.

It stands where a `Session` stands for measuring. What its power is at any moment, a fake instrument can ask it; so the
whole way from bytes to an energy is checked against the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgeprune.values.device import DeviceInfo, DeviceProfile, RuntimeInfo

_INFO = DeviceInfo(
    device_id="synthetic", boot_id="boot", agent="0", agent_sha256="", python="3", model="Synthetic board", os="none",
    kernel="0", arch="none", cpu_count=1, memory_bytes=None, disk_free_bytes=1 << 40, governor=None,
    runtimes=(RuntimeInfo("onnxruntime", "0"), RuntimeInfo("litert", "0")),
)  # fmt: skip
_STARTED = {
    "kind": "started", "runtime": "onnxruntime", "version": "0", "providers": ["CPU"], "boot_id": "boot",
    "memory_before_bytes": None,
}  # fmt: skip


class SyntheticBoard:
    """A board.

    Args:
        meter: Address of its power source.
        idle_w: Its power when it idles,
        busy_w: and when it computes.
        run_s: How long an inference takes.
        clock_ahead_s: By how much its clock is ahead of this machine's.
        drift_ratio: How much faster it runs.
        there_s: How long a request takes to the board,
        back_s: and the answer from it.

    Attributes:
        profile: As a session has it.
        info: Likewise.
        client: Likewise; its line has no rate that one could wait for.
    """

    def __init__(
        self, meter: str = "none", idle_w: float = 0.5, busy_w: float = 1.5, run_s: float = 0.01,
        clock_ahead_s: float = 1000.0, drift_ratio: float = 50e-6, there_s: float = 0.0004, back_s: float = 0.0001,
    ) -> None:  # fmt: skip
        self.profile, self.info = DeviceProfile("synthetic", "local://", meter=meter), _INFO
        self._idle_w, self._busy_w, self._run_s = idle_w, busy_w, run_s
        self._ahead_s, self._drift, self._there_s, self._back_s = clock_ahead_s, drift_ratio, there_s, back_s
        self._origin_s = time.monotonic()
        self.client = SimpleNamespace(line_rate=None, hello={})
        self._busy = False
        self.true_j = busy_w * run_s

    def power_w(self) -> float:
        """Return its power now."""
        return self._busy_w if self._busy else self._idle_w

    def now_ns(self) -> int:
        """Return its clock."""
        here = time.monotonic()
        return round((here + self._ahead_s + self._drift * (here - self._origin_s)) * 1e9)

    def request(self, op: str, deadline_s: float = 30.0, **arguments: Any) -> Mapping[str, Any]:
        """Answer a request for its clock.

        Args:
            op: "clock".
            deadline_s: Of no use here.
            arguments: None.

        Returns:
            The answer.
        """
        assert op == "clock", op
        time.sleep(self._there_s)
        answer = {"now_ns": self.now_ns()}
        time.sleep(self._back_s)
        return answer

    def push(self, path: Path, sha256: str) -> None:
        """Take a model, which does not matter."""

    def run(
        self, spec: Mapping[str, Any], on_event: Callable[[Mapping[str, Any]], None], deadline_s: float
    ) -> Mapping[str, Any]:
        """Do a run of kind "latency", in real time, or one of kind "footprint".

        Args:
            spec: Of which the times count.
            on_event: Hears all events.
            deadline_s: Of no use here.

        Returns:
            The end event.
        """
        on_event(_STARTED)
        on_event({"kind": "loaded", "load_ns": 1, "providers": ["CPU"], "inputs": [], "outputs": []})
        if spec["kind"] == "latency":
            self._load(spec, on_event)
        else:
            on_event({"kind": "footprint", "warm_load_ns": 1, "peak_memory_bytes": None})
        end = {"kind": "end", "state": "done", "peak_memory_bytes": None, "error": None}
        on_event(end)
        return end

    def _load(self, spec: Mapping[str, Any], on_event: Callable[[Mapping[str, Any]], None]) -> None:
        time.sleep(spec["idle_s"])
        begin, runs = self._compute(spec["min_duration_s"])
        warm = {"kind": "warm", "first_run_ns": 1, "runs": 0, "steady": True, "finite": True, "at_ns": begin}
        on_event(warm)
        on_event({"kind": "samples", "ns": [round(self._run_s * 1e9)] * runs})
        on_event({"kind": "load", "begin_ns": begin, "end_ns": self._ended_ns, "runs": runs, "marks": []})
        time.sleep(spec["idle_s"])

    def _compute(self, seconds: float) -> tuple[int, int]:
        # Whole inferences by the board's own clock; each is as long as it says, however late this machine wakes us.
        begin, self._busy = self.now_ns(), True
        runs = int(seconds / self._run_s) + 1
        until = begin + round(runs * self._run_s * 1e9)
        while (left_ns := until - self.now_ns()) > 0:
            time.sleep(left_ns * 1e-9)
        self._busy, self._ended_ns = False, self.now_ns()
        late_s = (self._ended_ns - until) * 1e-9
        self.true_j = self._busy_w * (runs * self._run_s + late_s) / runs
        return begin, runs

"""What may move a latency: temperatures, clocks, throttling, power mode, and who else uses the processors.

Every source is a file, so a reading costs no process; what a board lacks is left out. The names are those of
`edgeprune.values.board_state.BoardState`.

Source:
    Linux kernel, Documentation/admin-guide/pm/cpufreq.rst, Documentation/driver-api/thermal/sysfs-api.rst,
    Documentation/filesystems/proc.rst (stat), Documentation/scheduler/sched-stats.rst (schedstat).
    Raspberry Pi kernel, drivers/firmware/raspberrypi.c: get_throttled. NVIDIA Jetson Linux, tegra234-oc-event.c:
    oc*_event_cnt; /var/lib/nvpmodel/status and /etc/nvpmodel.conf of nvpmodel.
"""

import glob
import os
import re
from typing import Any, Dict, List, Optional, Tuple

from edgeprune_agent.boards import files
from edgeprune_agent.timing import now_ns

_CPUFREQ = "sys/devices/system/cpu/cpufreq/policy"
_COLDEST_C, _HOTTEST_C = -40.0, 150.0
"""Sensors that are off report -256 or so."""
_LOWERS_CLOCKS = re.compile("cpufreq|processor|devfreq|-throttle", re.IGNORECASE)
"""Types of cooling devices that cool by making the board slower; fans are none."""
_TICKS = float(os.sysconf("SC_CLK_TCK"))


class StateReader:
    """Knows where this board says what; looks for it once.

    Args:
        filesystem: Where /proc and /sys lie.
        worker: Process whose use of the processors is told apart; None for nobody's.
    """

    def __init__(self, filesystem: str = "/", worker: Optional[int] = None) -> None:
        self._root, self._worker = filesystem, worker
        self._zones = [(name, path) for name, path in self._named("sys/class/thermal/thermal_zone*/type", "temp")]
        self._zones = [(name, path) for name, path in self._zones if "pmic" not in name.lower()]
        self._policies = {path[len(_CPUFREQ) : -1]: path for path in self._find(_CPUFREQ + "*/")}
        self._cpus = {cpu: name for name, path in self._policies.items() for cpu in self._words(path + "related_cpus")}
        self._counters = dict(self._throttle_files())

    def read(self) -> Dict[str, Any]:
        """Return the board's state now, as JSON data."""
        state: Dict[str, Any] = {
            "at_ns": now_ns(),
            "temperatures_c": self._temperatures(),
            "governors": self._each("scaling_governor"),
            "clocks_hz": self._clocks(),
            "throttle": self._throttle(),
            "power_mode": self._power_mode(),
        }
        state.update(self._processors())
        state.update(self._own())
        return state

    def _text(self, path: str) -> Optional[str]:
        return files.text(self._root, path)

    def _words(self, path: str) -> List[str]:
        return (self._text(path) or "").split()

    def _find(self, pattern: str) -> List[str]:
        return sorted(os.path.relpath(path, self._root) + "/" * path.endswith("/") for path in self._glob(pattern))

    def _glob(self, pattern: str) -> List[str]:
        return glob.glob(os.path.join(self._root, pattern))

    def _named(self, pattern: str, value: str) -> List[Tuple[str, str]]:
        # A name that several have is told apart by its number.
        found: List[Tuple[str, str]] = []
        for path in self._find(pattern):
            name = self._text(path) or ""
            number = re.sub(r"\D", "", os.path.basename(os.path.dirname(path)))
            name = name + number if any(name == known for known, _ in found) else name
            found.append((name, os.path.join(os.path.dirname(path), value)))
        return found

    def _temperatures(self) -> Dict[str, float]:
        values = {name: _number(self._text(path)) for name, path in self._zones}
        known = {name: value / 1000.0 for name, value in values.items() if value is not None}
        return {name: value for name, value in known.items() if _COLDEST_C < value < _HOTTEST_C}

    def _each(self, name: str) -> Dict[str, str]:
        values = {policy: self._text(path + name) for policy, path in self._policies.items()}
        return {policy: value for policy, value in values.items() if value is not None}

    def _clocks(self) -> Dict[str, float]:
        # The hardware's own word where we may read it, else what the governor asked for.
        asked, true = self._each("scaling_cur_freq"), self._each("cpuinfo_cur_freq")
        values = {policy: _number(true.get(policy, asked.get(policy))) for policy in self._policies}
        return {policy: value * 1000.0 for policy, value in values.items() if value}

    def _throttle_files(self) -> List[Tuple[str, str]]:
        found = [("raspberry_pi", path) for path in self._find("sys/devices/platform/*/*firmware/get_throttled")]
        for path in self._find("sys/class/hwmon/hwmon*/oc*_event_cnt"):
            found.append(("event:" + os.path.basename(path).partition("_")[0], path))
        for path in self._find("sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"):
            found.append(("event:" + path.split("/")[4], path))
        for name, path in self._named("sys/class/thermal/cooling_device*/type", "cur_state"):
            if _LOWERS_CLOCKS.search(name):
                found.append(("cooling:" + name, path))
        return found

    def _throttle(self) -> Dict[str, int]:
        values = {}
        for name, path in self._counters.items():
            text = self._text(path)
            try:
                values[name] = int(text or "", 16 if name == "raspberry_pi" else 10)
            except ValueError:
                pass
        return values

    def _power_mode(self) -> Optional[str]:
        match = re.search(r"pmode:0*(\d+)", self._text("var/lib/nvpmodel/status") or "")
        if not match:
            return self._text("sys/firmware/acpi/platform_profile")
        named = r"POWER_MODEL\s+ID={}\s+NAME=(\S+)".format(match.group(1))
        name = re.search(named, self._text("etc/nvpmodel.conf") or "")
        return name.group(1) if name else match.group(1)

    def _processors(self) -> Dict[str, Any]:
        # Of all processors together since the boot: busy time without what a hypervisor took, and that.
        rows = [line.split() for line in (self._text("proc/stat") or "").splitlines() if line.startswith("cpu")]
        times = [int(word) for word in rows[0][1:9]] if rows else []
        if len(times) < 8:
            return {"cpus": 0, "busy_s": None, "stolen_s": None}
        busy = sum(times[:3]) + sum(times[5:7])
        return {"cpus": len(rows) - 1, "busy_s": busy / _TICKS, "stolen_s": times[7] / _TICKS}

    def _own(self) -> Dict[str, Any]:
        # Of the worker: processor time, time in which it could run but had no processor, and where it ran last.
        own: Dict[str, Any] = {"own_s": None, "ran_s": None, "waited_s": None, "policy": None}
        if self._worker is None:
            return own
        folder = "proc/{}/".format(self._worker)
        fields = (self._text(folder + "stat") or "").rpartition(")")[2].split()
        if len(fields) > 36:
            own["own_s"] = (int(fields[11]) + int(fields[12])) / _TICKS
            own["policy"] = self._cpus.get(fields[36])
        threads = [self._words(path) for path in self._find(folder + "task/*/schedstat")]
        threads = [words for words in threads if len(words) == 3]
        if threads:
            own["ran_s"] = sum(int(words[0]) for words in threads) / 1e9
            own["waited_s"] = sum(int(words[1]) for words in threads) / 1e9
        return own


def _number(text: Optional[str]) -> Optional[float]:
    try:
        return float(text or "")
    except ValueError:
        return None

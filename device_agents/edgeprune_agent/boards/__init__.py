"""What board this is: facts read from /proc, /sys and /etc, whose root is an argument so that recorded trees serve."""

import json
import os
import platform
from typing import Any, Dict, List, Optional

from edgeprune_agent import __version__, identity, power, runtimes
from edgeprune_agent.boards import files, generic_linux, jetson, raspberry_pi

_KINDS = (jetson, raspberry_pi, generic_linux)
"""The first one that recognises the board tells its model and system; the last one recognises all."""


def describe(root: str, filesystem: str = "/") -> Dict[str, Any]:
    """Return the facts of `edgeprune.values.device.DeviceInfo`, by its field names.

    Args:
        root: The agent's folder, whose disk is asked for free space.
        filesystem: Where /proc, /sys and /etc lie.

    Returns:
        JSON data.
    """
    kind = next(kind for kind in _KINDS if kind.recognises(filesystem))
    disk = os.statvfs(root)
    return {
        "device_id": identity.device_id(),
        "boot_id": identity.boot_id(),
        "agent": __version__,
        "agent_sha256": identity.agent_sha256(),
        "python": platform.python_version(),
        "model": kind.model(filesystem),
        "os": kind.system(filesystem),
        "kernel": files.text(filesystem, "proc/sys/kernel/osrelease") or os.uname().release,
        "arch": files.text(filesystem, "proc/sys/kernel/arch") or os.uname().machine,
        "cpu_count": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes(filesystem),
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "governor": files.text(filesystem, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "runtimes": _known_runtimes(root),
        "sensors": power.names(identity.filesystem() if filesystem == "/" else filesystem),
    }


def _memory_bytes(filesystem: str) -> Optional[int]:
    for line in (files.text(filesystem, "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _known_runtimes(root: str) -> List[Dict[str, Any]]:
    # Probe each runtime once per installed version: a probe imports it, which takes many seconds on a slow board.
    path = os.path.join(root, "runtimes.json")
    try:
        with open(path, encoding="utf-8") as file:
            known = dict(json.load(file))
    except (OSError, ValueError, TypeError):
        known = {}
    fresh = {}
    for name in runtimes.RUNTIMES:
        stamp = runtimes.stamp(name, root)
        if name not in runtimes.OF_WHEELS and not any(stamp[-1]):
            continue
        entry = known.get(name)
        if not isinstance(entry, dict) or entry.get("stamp") != stamp:
            entry = {"stamp": stamp, "about": runtimes.probe(name, identity.worker_python(root))}
        fresh[name] = entry
    if fresh != known:
        _keep(path, fresh)
    return [entry["about"] for entry in fresh.values()]


def _keep(path: str, data: Dict[str, Any]) -> None:
    """Write the cache; a board whose disk is full just probes again."""
    draft = "{}.{}.new".format(path, os.getpid())
    try:
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.replace(draft, path)
    except OSError:
        if os.path.exists(draft):
            os.unlink(draft)

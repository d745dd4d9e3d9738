"""The agent's error codes -> our errors, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeprune.devices.replies import clean_text
from edgeprune.errors import DeviceBusy, DeviceError, DeviceTimeout, RemoteError, RunFailed

_NEXT_STEPS = {
    "E_NOSPC": "Free space on the board, or remove old releases with `edgeprune releases remove`.",
    "E_QUOTA": "Remove old releases, or raise the quota of the agent's store.",
    "E_LIMIT": "Send something smaller.",
    "E_HASH": "Send it again; if it fails again, the file changes while it is sent or the board's disk is bad.",
    "E_IO": "See to the board's disk and to the agent's folder there.",
    "E_NOTFOUND": "Push it first, or see what is there with `edgeprune releases list`.",
    "E_LEASE": "Connect again.",
    "E_OFFSET": "Connect again; the upload goes on where it stopped.",
    "E_CANCELLED": "Start it again if you want it.",
    "E_UNKNOWN": "Install the same version of EdgePrune here and there.",
    "E_VERSION": "Install the same version of EdgePrune here and there.",
}
_REPORT = "This is a bug of EdgePrune's; please report it with this message."


def refusal(name: str, code: str, message: str, detail: Mapping[str, Any]) -> DeviceError:
    """Return the error for an agent's refusal.

    Args:
        name: Of the device.
        code: See docs/wire.md.
        message: The agent's words, cleaned.
        detail: What else it said; not yet cleaned.

    Returns:
        DeviceBusy, DeviceTimeout, RunFailed or RemoteError.
    """
    if code in ("E_BUSY", "E_FENCED"):
        return _busy(name, code, message, detail)
    if code == "E_TIMEOUT":
        return DeviceTimeout(f"{name}: {message}", "See whether the board is overloaded.")
    if code == "E_RUNNER":
        return RunFailed(f"{name}: {message}", "Run `edgeprune doctor` for the board.")
    return RemoteError(code, f"{name}: {message}", _NEXT_STEPS.get(code, _REPORT))


def _busy(name: str, code: str, message: str, detail: Mapping[str, Any]) -> DeviceBusy:
    holder = detail.get("holder")
    if not holder:
        return DeviceBusy(f"{name}: {message}", "Try again in a moment.")
    since = f" since {clean_text(detail['since_utc'], 40)}" if detail.get("since_utc") else ""
    run = f", and runs {clean_text(detail['run'], 40)}" if detail.get("run") else ""
    what = "was taken over by" if code == "E_FENCED" else "is held by"
    step = "Wait until it is free, or take it over with --steal."
    return DeviceBusy(f"{name} {what} {clean_text(holder, 200)}{since}{run}.", step)

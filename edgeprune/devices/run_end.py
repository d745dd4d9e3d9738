"""The last event of a run -> the error that it means, if it means one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeprune.devices.replies import clean_text
from edgeprune.errors import RunFailed


def run_failure(name: str, end: Mapping[str, Any]) -> RunFailed | None:
    """Return what went wrong in a run.

    Args:
        name: Of the device.
        end: The run's event of kind "end".

    Returns:
        The error, or None for a run that was done.
    """
    state, error = end.get("state"), end.get("error")
    if state == "done":
        return None
    if state == "interrupted":
        return RunFailed(f"{name}: the board was restarted during the run.", "Run it again.")
    if state == "cancelled":
        return RunFailed(f"{name}: the run was cancelled.", "Run it again if you want it.")
    said = [clean_text(error.get(key, "")) for key in ("type", "message")] if isinstance(error, dict) else []
    what = ": ".join(filter(None, said)) or "it gave no reason"
    return RunFailed(f"{name}: the worker failed: {what}.", "See whether the model runs with this runtime elsewhere.")

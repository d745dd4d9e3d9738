"""Does a release still give its golden outputs on its board?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeprune.errors import ProtocolError
from edgeprune.measuring.runtime import START_S, run_worker

if TYPE_CHECKING:
    from edgeprune.devices.session import Session


@dataclass(frozen=True, slots=True)
class Health:
    """Outcome of a check.

    Attributes:
        ok: Whether every output stayed within the tolerance.
        max_abs: max |Δ| against the golden outputs; None if an output is not finite.
        tolerance: The most that is allowed.
        n_examples: Golden examples compared.
    """

    ok: bool
    max_abs: float | None
    tolerance: float
    n_examples: int

    @property
    def problem(self) -> str:
        """What is wrong, in words."""
        if self.max_abs is None:
            return "an output is NaN or infinite"
        return f"max |Δ| against the golden outputs is {self.max_abs:.3g}, at most {self.tolerance:.3g} is allowed"


def check_release(session: Session, model: str, release: str | None, manifest: Mapping[str, Any]) -> Health:
    """Run a release on its golden inputs, in a fresh process on the board.

    Args:
        session: Of the board.
        model: Its name there.
        release: Id; None for the one that `current` points at.
        manifest: Of the release: `runtime`, `threads` and `provider`.

    Returns:
        The outcome.

    Raises:
        ProtocolError: The agent told of no outcome.
    """
    seen: dict[str, Any] = {}

    def hear(event: Mapping[str, Any]) -> None:
        if event["kind"] == "checked":
            seen.update(event)

    how = {"threads": int(manifest.get("threads", 1)), "provider": str(manifest.get("provider", "auto"))}
    spec = {"kind": "check", "model": model, "release": release, "runtime": str(manifest.get("runtime")), **how}
    run_worker(session, spec, hear, 2 * START_S, f"release {release or 'current'} of {model}")
    if not seen:
        raise ProtocolError(f"{session.profile.name}: a check ended without an outcome.", "Check again.")
    max_abs = seen["max_abs"]
    return Health(
        bool(seen["ok"]), None if max_abs is None else float(max_abs), float(seen["tolerance"]), int(seen["n"])
    )

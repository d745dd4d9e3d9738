"""Choice + Session -> Release: staged, checked, switched in one step, checked again, or undone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeprune.deploying.golden import Array, Golden, make_golden
from edgeprune.deploying.health import Health, check_release
from edgeprune.deploying.installed import current_row, describe, rows
from edgeprune.deploying.names import check_model_name, new_release_id
from edgeprune.errors import DeviceError, ReleaseError, RunFailed
from edgeprune.measuring.runtime import choose_runtime
from edgeprune.measuring.sending import send
from edgeprune.units import format_quantity
from edgeprune.values.artifact import Artifact
from edgeprune.values.choice import Choice
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.measurement import Measurement
from edgeprune.values.release import Release

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

KEPT_RELEASES = 5
HEALTH_TRIES, HEALTH_PAUSE_S = 3, 1.0
_STEPS = ("preflight", "push", "golden", "stage", "check", "switch", "health", "tidy")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is about to be installed.

    Attributes:
        model: Name on the board.
        release: Id of the new release.
        before: Id of the release in use until now; None for the first one.
        manifest: Of the new release.
    """

    model: str
    release: str
    before: str | None
    manifest: Mapping[str, Any]


def install(
    session: Session,
    choice: Choice | Measurement,
    *,
    model: str = "model",
    golden: tuple[Sequence[Array], Sequence[Array]] | None = None,
    manifest: Mapping[str, Any] | None = None,
    listener: Listener = ignore,
) -> Release:
    """Install a measured artifact on a board, so that at any instant `current` leads to a whole, checked release.

    Installing what is in use already checks its health and changes nothing; one that is not well is replaced.

    Args:
        session: Of the board, with the lease.
        choice: What to install: a choice's winner, or a measurement.
        model: Name on the board.
        golden: Inputs and outputs that the release must reproduce; None to take the board's own outputs for random
            inputs (`"golden_source": "device"` in the manifest).
        manifest: JSON data to keep with the release.
        listener: Hears of the steps.

    Returns:
        The release in use.

    Raises:
        ReleaseError: The release failed its check; the board is as it was.
    """
    measurement = choice.winner if isinstance(choice, Choice) else choice
    check_model_name(model)
    tell = _teller(listener, measurement.label)
    tell("preflight")
    artifact, plan = measurement.artifact, measurement.plan
    runtime = choose_runtime(session, artifact.format, plan.runtime)
    found = rows(session, model)
    current = current_row(found)
    if current is not None and _is_in_use_and_well(session, current, artifact):
        return describe(session, model, str(current["release"]))
    _check_space(session, artifact.size_bytes)
    tell("push")
    send(session, artifact, listener)
    tell("golden")
    proof = make_golden(session, artifact, runtime, plan, golden)
    proof_sha = session.push_bytes(proof.data)
    new = _Plan(
        model,
        new_release_id(artifact.sha256, {str(row["release"]) for row in found}),
        None if current is None else str(current["release"]),
        dict(manifest or {}, **_facts(measurement, runtime, proof)),
    )
    with _undone_on_failure(session, new):
        _put_in_use(session, new, artifact, proof_sha, tell)
    tell("tidy")
    _record(session, new)
    _keep_newest(session, model)
    return describe(session, model, new.release)


def _is_in_use_and_well(session: Session, current: Mapping[str, Any], artifact: Artifact) -> bool:
    if current["manifest"].get("sha256") != artifact.sha256:
        return False
    try:
        return _patient_check(session, str(current["model"]), None, current["manifest"]).ok
    except (RunFailed, ReleaseError):  # damaged: a fresh release takes its place
        return False


def _put_in_use(session: Session, new: _Plan, artifact: Artifact, golden_sha: str, tell: Callable[[str], None]) -> None:
    tell("stage")
    session.request(
        "release.stage", model=new.model, release=new.release, format=artifact.format, sha=artifact.sha256,
        golden=golden_sha, manifest=new.manifest,
    )  # fmt: skip
    tell("check")
    _require(check_release(session, new.model, new.release, new.manifest), new, session, "before it was put in use")
    tell("switch")
    session.request("release.switch", model=new.model, release=new.release)
    tell("health")
    _require(_patient_check(session, new.model, None, new.manifest), new, session, "when it was in use")


def _teller(listener: Listener, subject: str) -> Callable[[str], None]:
    def tell(step: str) -> None:
        listener(Event("install", subject, _STEPS.index(step), len(_STEPS), "steps", step))

    return tell


def _check_space(session: Session, size_bytes: int) -> None:
    free = session.request("info").get("disk_free_bytes")
    if isinstance(free, int) and free < 2 * size_bytes:
        raise DeviceError(
            f"{session.profile.name} has {format_quantity(free, 'bytes')} of disk left; installing takes "
            f"{format_quantity(2 * size_bytes, 'bytes')}.",
            "Free space on the board, or remove releases with `edgeprune releases remove`.",
        )


def _facts(measurement: Measurement, runtime: str, proof: Golden) -> dict[str, Any]:
    latency, variant = measurement.latency, measurement.variant
    return {
        "label": measurement.label,
        "variant": variant.id if variant else None,
        "precision": measurement.artifact.precision,
        "opset": measurement.artifact.opset,
        "runtime": runtime,
        "runtime_version": measurement.environment.get("runtime_version"),
        "threads": measurement.plan.threads,
        "provider": measurement.plan.provider,
        "p50_s": latency.p50_s,
        "p50_ci_s": list(latency.p50_ci_s),
        "peak_memory_bytes": measurement.peak_memory_bytes,
        "accuracy": measurement.accuracy,
        "verdict": measurement.verdict,
        "golden_source": proof.source,
        "tolerance": proof.tolerance,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _require(health: Health, new: _Plan, session: Session, when: str) -> None:
    if not health.ok:
        raise ReleaseError(
            f"Release {new.release} of {new.model} failed its check on {session.profile.name} {when}: "
            f"{health.problem}. It is not installed.",
            "Compare the artifact's outputs on host and board, or install another variant.",
        )


def _patient_check(session: Session, model: str, release: str | None, manifest: Mapping[str, Any]) -> Health:
    # A board that has just been busy gets a second and a third chance.
    for _ in range(HEALTH_TRIES - 1):
        with contextlib.suppress(RunFailed, ReleaseError):
            health = check_release(session, model, release, manifest)
            if health.ok:
                return health
        time.sleep(HEALTH_PAUSE_S)
    return check_release(session, model, release, manifest)


@contextlib.contextmanager
def _undone_on_failure(session: Session, new: _Plan) -> Iterator[None]:
    # Whatever ends the installation, Ctrl-C included, the board is put back. If that cannot be done either, because the
    # link is gone, `current` still leads to a whole release: the old one, or the new one, which was checked.
    try:
        yield
    except BaseException:
        with contextlib.suppress(DeviceError):
            _undo(session, new)
        raise


def _undo(session: Session, new: _Plan) -> None:
    current = current_row(rows(session, new.model))
    if current is not None and current["release"] == new.release:
        if new.before is None:
            session.request("release.switch", model=new.model, release=None)
        else:
            session.request("release.rollback", model=new.model, release=new.before)
    session.request("release.remove", model=new.model, release=new.release)


def _record(session: Session, new: _Plan) -> None:
    entry = {"op": "install", "from": new.before, "to": new.release, "label": new.manifest["label"]}
    session.request("release.record", model=new.model, entry=entry)


def _keep_newest(session: Session, model: str) -> None:
    found = rows(session, model)
    kept = {row["release"] for row in found if row["current"] or row["previous"]}
    surplus = [str(row["release"]) for row in found if row["release"] not in kept]
    for release in surplus[: max(0, len(found) - KEPT_RELEASES)]:
        session.request("release.remove", model=model, release=release)

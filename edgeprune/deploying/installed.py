"""What is installed on a board, whether it is well, and how to go back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeprune.deploying.health import check_release
from edgeprune.deploying.names import check_model_name
from edgeprune.errors import ProtocolError, ReleaseError, RemoteError, UnknownName
from edgeprune.values.release import Release

if TYPE_CHECKING:
    from edgeprune.devices.session import Session


def releases(session: Session, model: str | None = None) -> list[Release]:
    """List what is installed.

    Args:
        session: Of the board.
        model: Name there; None for all models.

    Returns:
        Releases, oldest first within a model.
    """
    if model is None:
        names = dict.fromkeys(str(row.get("model")) for row in _rows(session, None))
        return [release for name in names for release in releases(session, name)]
    return [_release(session, row, previous_id(found)) for found in [rows(session, model)] for row in found]


def status(session: Session, model: str) -> Release | None:
    """Return the release in use, after it has given its golden outputs on the board again.

    Args:
        session: Of the board.
        model: Name there.

    Returns:
        The release; None if none is installed.

    Raises:
        ReleaseError: It does not give them.
    """
    row = current_row(rows(session, model))
    if row is None:
        return None
    health = check_release(session, model, None, row["manifest"])
    if not health.ok:
        raise ReleaseError(
            f"Release {row['release']} of {model} on {session.profile.name} is not well: {health.problem}.",
            "Go back with `edgeprune releases rollback`, or install again.",
        )
    found = rows(session, model)
    return _release(session, current_row(found) or row, previous_id(found))


def rollback(session: Session, model: str, to: str | None = None) -> Release:
    """Go back to an earlier release that still gives its golden outputs.

    Args:
        session: Of the board, with the lease.
        model: Name there.
        to: Id of a release; None for the one before the current one.

    Returns:
        The release in use now.

    Raises:
        ReleaseError: There is none to go back to, or it is not well; nothing was changed.
        UnknownName: There is no release `to`.
    """
    found = rows(session, model)
    target = to or previous_id(found)
    if target is None:
        raise ReleaseError(
            f"{model} on {session.profile.name} has no earlier release.", "See `edgeprune releases list`."
        )
    row = _find(found, target)
    health = check_release(session, model, target, row["manifest"])
    if not health.ok:
        raise ReleaseError(
            f"Release {target} of {model} is not well and was not put in use: {health.problem}.",
            "Choose another one from `edgeprune releases list`.",
        )
    try:
        session.request("release.rollback", model=model, release=target)
    except RemoteError as error:
        raise ReleaseError(error.message, "See `edgeprune releases list`.") from error
    found = rows(session, model)
    return _release(session, _find(found, target), previous_id(found))


def remove(session: Session, model: str, release: str) -> None:
    """Delete a release that is not in use.

    Args:
        session: Of the board, with the lease.
        model: Name there.
        release: Id.

    Raises:
        ReleaseError: It is in use.
    """
    if _find(rows(session, model), release)["current"]:
        raise ReleaseError(f"Release {release} of {model} is in use.", "Roll back or install another one first.")
    session.request("release.remove", model=model, release=release)


def rows(session: Session, model: str) -> list[Mapping[str, Any]]:
    """Return what the agent says of a model's releases, oldest first.

    Args:
        session: Of the board.
        model: Name there.

    Returns:
        See `release.list` in docs/wire.md.
    """
    return _rows(session, check_model_name(model))


def _rows(session: Session, model: str | None) -> list[Mapping[str, Any]]:
    answer = session.request("release.list", model=model).get("releases")
    if not isinstance(answer, list) or not all(isinstance(row, Mapping) and "release" in row for row in answer):
        raise ProtocolError(f"{session.profile.name}: the list of releases is not understood.", "Update the agent.")
    return sorted(answer, key=lambda row: (str(row["model"]), str(row["release"])))


def current_row(found: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the row of the release in use, or None."""
    return next((row for row in found if row["current"]), None)


def previous_id(found: list[Mapping[str, Any]]) -> str | None:
    """Return the id that a rollback goes to, or None."""
    return next((str(row["release"]) for row in found if row["previous"]), None)


def _find(found: list[Mapping[str, Any]], release: str) -> Mapping[str, Any]:
    for row in found:
        if row["release"] == release:
            return row
    raise UnknownName("release", release, [str(row["release"]) for row in found])


def _release(session: Session, row: Mapping[str, Any], previous: str | None) -> Release:
    try:
        manifest = row["manifest"]
        return Release(
            model=str(row["model"]),
            id=str(row["release"]),
            path=str(row["path"]),
            sha256=str(manifest["sha256"]),
            previous=previous if row["current"] else None,
            current=bool(row["current"]),
            label=str(manifest.get("label", "")),
            checked_utc=str(row["checked_utc"] or ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(
            f"{session.profile.name}: a release is described in a way that is not understood ({error!r}).",
            "Update the agent.",
        ) from error


def describe(session: Session, model: str, release: str) -> Release:
    """Return one release as the board has it now.

    Args:
        session: Of the board.
        model: Name there.
        release: Id.

    Returns:
        The release.
    """
    found = rows(session, model)
    return _release(session, _find(found, release), previous_id(found))

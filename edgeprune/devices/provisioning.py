"""Brings inference runtimes to a board that has no network: wheels from here, into a venv of the agent's.

    look ─▶ find wheels ─▶ push, stage aside, try there ─▶ switch ─▶ look again

What was pushed stays in the board's store, so a call that was cut goes on where it stopped. The venv in use changes
in one step, after the new one was seen to work.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeprune.devices.address import SerialAddress, parse_address
from edgeprune.devices.board_check import BoardCheck, check_board
from edgeprune.devices.replies import integer, read_runtimes, text
from edgeprune.devices.session import Session, connect
from edgeprune.devices.wheel_files import fetch_wheels, wheels_of
from edgeprune.devices.wheel_names import Target, read_target
from edgeprune.errors import DeviceError, RemoteError
from edgeprune.values.device import DeviceInfo, DeviceProfile, RuntimeInfo
from edgeprune.values.event import Event, Listener, ignore

_STAGE_S = 1800.0
"""To unpack 150 MB to an SD card and to import two runtimes from it takes minutes on a small board."""
_SWITCH_S = 120.0
_BAD_WHEEL = {"E_ARG", "E_HASH"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A board after it was prepared.

    Attributes:
        info: What its agent says now.
        check: What it still lacks.
        wheels: Names of the wheels that were installed.
        wheel_bytes: How long they are together.
    """

    info: DeviceInfo
    check: BoardCheck
    wheels: tuple[str, ...]
    wheel_bytes: int


def prepare(profile: DeviceProfile, wheels: Path | None = None, listener: Listener = ignore) -> Prepared:
    """Install on a board what it lacks, or the wheels of a folder.

    Args:
        profile: Whose board.
        wheels: Folder of wheels, all of which are meant; None to have pip fetch what is missing.
        listener: Told of every step.

    Returns:
        How the board is now.

    Raises:
        UsageError: The wheels cannot be had, or are for another Python.
        DeviceError: The board cannot be reached or does not take them, or nothing works with them; it is as it was.
    """
    way = _whole_agent(profile)
    with connect(way, exclusive=False) as session:
        info = session.info
        check = check_board(profile, info)
        packages = [lack.package for lack in check.lacks if lack.package]
        if not packages and wheels is None:
            return Prepared(info, check, (), 0)
        target = _target(session, check)
    with tempfile.TemporaryDirectory(prefix="edgeprune-wheels-") as folder:
        if wheels is None:
            listener(Event("install", profile.name, message=f"fetching {', '.join(packages)} for {target}"))
        files = wheels_of(wheels, target) if wheels else fetch_wheels(packages, target, Path(folder))
        with connect(way, listener=listener) as session:
            _install(session, info.runtimes, files, listener)
        sizes = [file.stat().st_size for file in files]
    with connect(way, exclusive=False) as session:
        info = session.info
    return Prepared(info, check_board(profile, info), tuple(file.name for file in files), sum(sizes))


def _whole_agent(profile: DeviceProfile) -> DeviceProfile:
    """Return the way to an agent that can install wheels: the one that is typed into consoles is sent without that."""
    address = parse_address(profile.address)
    if isinstance(address, SerialAddress):
        return replace(profile, address=str(replace(address, whole_agent=True)))
    return profile


def _target(session: Session, check: BoardCheck) -> Target:
    features = session.client.hello.get("feat")
    if not isinstance(features, list) or "venv" not in features:
        raise RemoteError(
            "E_UNKNOWN",
            f"{session.profile.name} runs the agent {session.info.agent}, which cannot install wheels.",
            "Start an agent of this version there.",
        )
    facts = session.request("venv.show")
    if text(facts, "state") == "foreign":
        commands = " ; ".join(lack.command for lack in check.lacks if lack.command)
        raise DeviceError(
            f"{session.profile.name} has a venv already, which was not made by `devices prepare`.",
            f"Install there with its own pip{': ' + commands if commands else ''}. Or remove ROOT/venv on the board.",
        )
    return read_target(text(facts, "soabi"), text(facts, "libc"))


def _install(session: Session, before: Sequence[RuntimeInfo], files: Sequence[Path], listener: Listener) -> None:
    shas = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    sizes = [file.stat().st_size for file in files]
    found = [session.request("store.stat", sha=sha, size=size) for sha, size in zip(shas, sizes, strict=True)]
    session.announce(f"{len(files)} wheels", sum(sizes) - sum(integer(answer, "durable") for answer in found))
    for file, sha in zip(files, shas, strict=True):
        session.push(file, sha)
    listener(Event("install", session.profile.name, message=f"unpacking {len(files)} wheels on {session.profile.name}"))
    try:
        staged = session.request("venv.stage", _STAGE_S, wheels=shas)
    except RemoteError as error:
        if error.code in _BAD_WHEEL:
            error.next_step = "Fetch the wheel again, or leave it out."
        raise
    _judge(session.profile.name, before, read_runtimes(staged))
    session.request("venv.switch", _SWITCH_S, venv=text(staged, "venv"))


def _judge(name: str, before: Sequence[RuntimeInfo], after: Sequence[RuntimeInfo]) -> None:
    # Refused: a venv in which a runtime would be lost, or which is the same to every runtime though some are missing.
    known = {runtime.name: runtime for runtime in after}
    pairs = [(runtime, known[runtime.name]) for runtime in before if runtime.name in known]
    lost = [now for was, now in pairs if was.version is not None and now.version is None]
    lacking = [now for _, now in pairs if now.version is None]
    useless = bool(lacking) and all(was.version == now.version for was, now in pairs)
    if not lost and not useless:
        return
    reasons = "; ".join(f"{runtime.name}: {runtime.reason}" for runtime in lost or lacking)
    what = "would no longer have what it has" if lost else "would have nothing more"
    raise DeviceError(
        f"{name} {what} with these wheels: {reasons}. Nothing was changed there.",
        "Give other wheels: --wheels DIR.",
    )

"""Looks at host, project and board before the user has to, and names the fix."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeprune import units
from edgeprune.config import Config
from edgeprune.devices import Session, connect, resolve
from edgeprune.devices.board_check import Lack, check_board
from edgeprune.errors import EdgePruneError
from edgeprune.flow.project import Project
from edgeprune.measuring import open_power

MIN_FREE_BYTES = 2 * 2**30
"""Space that a search of ordinary networks may need on the host."""

PACKAGES = {"torch": "", "onnx": "", "onnxruntime": "", "litert-torch": "tflite", "ai-edge-litert": "tflite"}
"""What the host's stages need, and the extra that brings it; "" for EdgePrune's own requirements."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        ok: Whether it is as it should be.
        found: What was seen.
        fix: What to do; "" if it is ok.
    """

    subject: str
    ok: bool
    found: str
    fix: str = ""


def examine(device: str, load_config: Callable[[], Config | None]) -> list[Finding]:
    """Look at host, project and board.

    Args:
        device: Name, tag or address of the board.
        load_config: Loads the project's configuration, or returns None outside of a project.

    Returns:
        Everything looked at, in order; what fails does not stop the rest.
    """
    findings = list(_host())
    config: Config | None = None
    try:
        config = load_config()
    except EdgePruneError as error:
        findings.append(Finding("edgeprune.toml", False, error.message, error.next_step))
    if config:
        findings += _project(config)
    return findings + list(_board(device, config))


def _host() -> Iterator[Finding]:
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "Install Python 3.11 or newer.")
    for package, extra in PACKAGES.items():
        wanted = f"edgeprune[{extra}]" if extra else "edgeprune"
        try:
            yield Finding(package, True, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(package, False, "not installed", f"Run: pip install '{wanted}'")
    free = shutil.disk_usage(Path.cwd()).free
    fix = f"Free at least {units.format_quantity(MIN_FREE_BYTES, 'bytes')}."
    yield Finding("disk", free >= MIN_FREE_BYTES, f"{units.format_quantity(free, 'bytes')} free", fix)


def _project(config: Config) -> Iterator[Finding]:
    project = Project(config)
    looks: dict[str, Callable[[], object]] = {
        "model": lambda: project.model,
        "inputs": lambda: project.example_inputs,
        "test data": lambda: project.first_examples(1),
    }
    if project.file is not None:
        looks = {"model file": lambda: project.first_examples(1)}
    yield Finding("edgeprune.toml", True, str(config.path))
    for subject, look in looks.items():
        try:
            look()
        except EdgePruneError as error:
            yield Finding(subject, False, error.message, error.next_step)
            return  # what follows needs what failed
        yield Finding(subject, True, "loads and runs")


def _board(device: str, config: Config | None) -> Iterator[Finding]:
    try:
        profile = resolve(device, config.devices if config else None)
        with connect(profile, exclusive=False) as session:
            info, meter = session.info, list(_meter(session))
    except EdgePruneError as error:
        yield Finding(f"device {device}", False, error.message, error.next_step)
        return
    yield Finding(f"device {device}", True, f"{info.model}, {info.os}, agent {info.agent}")
    check = check_board(profile, info)
    yield Finding("  profile", check.agrees, check.title, f"Correct the profile of {profile.name}: {check.board}.")
    fixes = {lack.runtime: _fix(profile.name, lack) for lack in check.lacks}
    for runtime in info.runtimes:
        found = runtime.version or runtime.reason
        yield Finding(f"  {runtime.name}", runtime.version is not None, found, fixes.get(runtime.name, ""))
    yield from meter


def _meter(session: Session) -> Iterator[Finding]:
    try:
        source = open_power(session, session.profile.meter)
    except EdgePruneError as error:
        yield Finding("  meter", False, error.message, error.next_step)
        return
    if source is not None:
        facts = source.facts
        yield Finding("  meter", True, f"{facts.source} ({facts.boundary}, {facts.fidelity})")


def _fix(device: str, lack: Lack) -> str:
    from_here = f"Run: edgeprune devices prepare {device}. Or there: " if lack.package else "Run there: "
    return from_here + lack.command if lack.command else lack.note

"""What each release of onnxruntime can load, so that an export suits the one on a board."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edgeprune.errors import UsageError
from edgeprune.values.spec import ExportSpec

DEFAULT_OPSET = 20
"""The operator set that an export has unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of onnxruntime.

    Attributes:
        version: Major and minor.
        opset: The newest operator set that it supports.
        ir_version: The newest file format that it reads.
    """

    version: tuple[int, int]
    opset: int
    ir_version: int


RELEASES = (
    Release((1, 6), 13, 7),
    Release((1, 8), 14, 7),
    Release((1, 9), 15, 7),
    Release((1, 15), 19, 9),
    Release((1, 17), 20, 9),
    Release((1, 18), 21, 10),
    Release((1, 21), 22, 10),
    Release((1, 23), 23, 11),
    Release((1, 24), 25, 13),
    Release((1, 26), 26, 13),
    Release((1, 32), 28, 14),
)
"""Where something changes; a release between two counts as the older one.

Source: up to 1.10 the version matrix of onnxruntime's docs/Versioning.md; the others measured: each wheel for CPython
3.11 was given one-node models of rising operator set and IR version until it refused.
"""


def release_of(package: str) -> Release:
    """Return what is known of a release.

    Args:
        package: As pip writes it, "onnxruntime==1.19.2", or the version alone.

    Returns:
        The newest known release that is not newer.

    Raises:
        UsageError: It is no release of onnxruntime, or one before 1.6.
    """
    found = re.fullmatch(r"(?:onnxruntime(?:-gpu)?\s*==\s*)?(\d+)\.(\d+)(?:\.\S*)?", package.strip())
    wanted = (int(found[1]), int(found[2])) if found else (0, 0)
    known = [release for release in RELEASES if release.version <= wanted]
    if not known:
        raise UsageError(f"{package!r} is no release of onnxruntime from 1.6.", "Give one such as onnxruntime==1.19.2.")
    return known[-1]


def ir_version_for(opset: int) -> int:
    """Return the file format that every release with this operator set reads."""
    return next((release.ir_version for release in RELEASES if release.opset >= opset), RELEASES[-1].ir_version)


def suited(spec: ExportSpec, package: str) -> ExportSpec:
    """Return the spec as a board's onnxruntime needs it.

    Args:
        spec: What is asked for; TFLite files pass unchanged.
        package: The runtime, such as "onnxruntime==1.10.0".

    Returns:
        The same spec where it suits, so that boards share their artifacts; else one with the newest operator set
        that the runtime has.

    Raises:
        UsageError: The spec names a newer operator set than the runtime has.
    """
    if spec.format != "onnx":
        return spec
    release = release_of(package)
    if spec.opset is not None and spec.opset > release.opset:
        raise UsageError(
            f"{package} has no operator set {spec.opset}.", f"Give at most {release.opset}, or leave it out."
        )
    if spec.opset is None and release.opset < DEFAULT_OPSET:
        return replace(spec, opset=release.opset)
    return spec


def unmet(opset: int, ir_version: int, package: str) -> str:
    """Say what a release of onnxruntime lacks to load a file.

    Args:
        opset: That the file declares.
        ir_version: Likewise.
        package: The runtime, such as "onnxruntime==1.10.0".

    Returns:
        In words; empty where it lacks nothing.
    """
    release = release_of(package)
    if opset > release.opset:
        return f"it needs operator set {opset}, {package} has {release.opset}"
    if ir_version > release.ir_version:
        return f"it is written in IR version {ir_version}, {package} reads up to {release.ir_version}"
    return ""

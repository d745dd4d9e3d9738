"""Which wheels fit a board's Python: facts of its interpreter and C library against the names of wheels. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeprune.errors import DeviceError

_SOABI = re.compile(r"cpython-(\d)(\d+)([a-z]*)-([a-z0-9_]+-linux-[a-z0-9]+)")
_MACHINES = {
    "aarch64-linux-gnu": "aarch64",
    "arm-linux-gnueabihf": "armv7l",
    "i386-linux-gnu": "i686",
    "x86_64-linux-gnu": "x86_64",
    "aarch64-linux-musl": "aarch64",
    "x86_64-linux-musl": "x86_64",
}
"""What an interpreter was built for to what wheels call it. Not `uname -m`: a 64-bit kernel may run a 32-bit system."""
_OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
"""glibc 2.x of the names that came before manylinux_2_x (PEP 600)."""
_WHEEL = re.compile(
    r"(?P<project>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[A-Za-z0-9][A-Za-z0-9._!+]*)(?:-[0-9][A-Za-z0-9_.]*)?"
    r"-(?P<pythons>[a-z0-9_.]+)-(?P<abis>[a-z0-9_.]+)-(?P<platforms>[A-Za-z0-9_.]+)\.whl"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A Python, as far as it decides which wheels fit.

    Attributes:
        python: Such as (3, 11).
        abi: Such as "cp311".
        platforms: Such as "manylinux_2_28_aarch64", the newest first.
        machine: Such as "aarch64".
    """

    python: tuple[int, int]
    abi: str
    platforms: tuple[str, ...]
    machine: str

    def __str__(self) -> str:
        return f"CPython {self.python[0]}.{self.python[1]} on {self.machine}"


def read_target(soabi: str, libc: str) -> Target:
    """Return the target of an interpreter.

    Args:
        soabi: Its SOABI, such as "cpython-311-aarch64-linux-gnu".
        libc: Such as "glibc 2.36"; "" for another one.

    Returns:
        The target.

    Raises:
        DeviceError: There are no wheels for such a Python.
    """
    found = _SOABI.fullmatch(soabi)
    machine = _MACHINES.get(found[4]) if found else None
    if found is None or machine is None:
        raise DeviceError(
            f"No wheels are known for the board's Python ({soabi or 'it does not say what it is'}).",
            "Install the runtime there as its system does; `edgeprune devices check` may name the command.",
        )
    major, minor, flags = int(found[1]), int(found[2]), found[3]
    return Target((major, minor), f"cp{major}{minor}{flags}", _platforms(found[4], machine, libc), machine)


def _platforms(triplet: str, machine: str, libc: str) -> tuple[str, ...]:
    if triplet.endswith("-musl"):
        return tuple(f"musllinux_1_{minor}_{machine}" for minor in (2, 1))
    version = re.fullmatch(r"glibc 2\.(\d{1,3})", libc)
    newest = int(version[1]) if version else max(_OLD_NAMES)
    names: list[str] = []
    for minor in range(newest, min(_OLD_NAMES) - 1, -1):
        names += [f"manylinux_2_{minor}_{machine}"]
        names += [f"{_OLD_NAMES[minor]}_{machine}"] if minor in _OLD_NAMES else []
    return (*names, f"linux_{machine}")


def is_wheel_name(name: str) -> bool:
    """Return whether a file's name is one that a wheel may have (PEP 427)."""
    return _WHEEL.fullmatch(name) is not None


def fits(name: str, target: Target) -> bool:
    """Return whether a wheel can be used by a Python.

    Args:
        name: Of the file.
        target: The Python.

    Returns:
        Whether one of the tags in the name is the target's.
    """
    found = _WHEEL.fullmatch(name)
    if found is None:
        return False
    platforms = set(found["platforms"].split("."))
    able = "any" in platforms or not platforms.isdisjoint(target.platforms)
    pairs = [(python, abi) for python in found["pythons"].split(".") for abi in found["abis"].split(".")]
    return able and any(_takes(target, python, abi) for python, abi in pairs)


def _takes(target: Target, python: str, abi: str) -> bool:
    major, minor = target.python
    tag = re.fullmatch(r"(cp|py)(\d)(\d*)", python)
    if tag is None or int(tag[2]) != major:
        return False
    named = int(tag[3]) if tag[3] else 0
    if tag[1] == "py":
        return abi == "none" and named <= minor
    return (named == minor and abi in (target.abi, "none")) or (abi == "abi3" and named <= minor)

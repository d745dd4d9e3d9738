"""Any Linux: a PC names itself in DMI, most other boards in their device tree."""

from typing import Optional

from edgeprune_agent.boards import files

_PLACEHOLDERS = ("to be filled by o.e.m.", "system product name", "system manufacturer", "default string", "none")
"""What makers leave in DMI when they fill in nothing."""


def recognises(filesystem: str) -> bool:
    """Return True: every board that is no other one is this."""
    del filesystem
    return True


def model(filesystem: str) -> str:
    """Return the board's name for itself, or its processor's (a virtual machine has no other), or "unknown board"."""
    named = files.text(filesystem, "proc/device-tree/model")
    if named:
        return named
    parts = [_dmi(filesystem, name) for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part) or _processor(filesystem) or "unknown board"


def system(filesystem: str) -> str:
    """Return the operating system's full name, or "Linux"."""
    for line in (files.text(filesystem, "etc/os-release") or "").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip("\"' ") or "Linux"
    return "Linux"


def _processor(filesystem: str) -> Optional[str]:
    for line in (files.text(filesystem, "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip() or None
    return None


def _dmi(filesystem: str, name: str) -> Optional[str]:
    value = files.text(filesystem, "sys/class/dmi/id/" + name)
    return None if value is None or value.lower() in _PLACEHOLDERS else value

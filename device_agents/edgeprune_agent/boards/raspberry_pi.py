"""Raspberry Pi: named by its device tree, revision included."""

from edgeprune_agent.boards import generic_linux

system = generic_linux.system
model = generic_linux.model


def recognises(filesystem: str) -> bool:
    """Return whether the device tree says Raspberry Pi."""
    return generic_linux.model(filesystem).startswith("Raspberry Pi")

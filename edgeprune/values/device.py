"""What is known of a board before (profile) and after (info) the first connection; facts, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

COUNTS_INSTRUCTIONS = "counting instructions"
"""The end of a virtual board's model whose clock goes on by 1 ns with each instruction that is executed."""


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A board and the way to it.

    Attributes:
        name: As the user calls it.
        address: A URI: local://, ssh://user@host:port, serial:///dev/ttyUSB0?baud=921600.
        board: Name of the board type's file in profiles/, or "" if none fits.
        meter: Power source: "onboard", "none" or a URI.
        tags: For selecting boards.
        device_id: What the agent's `device_id` must be; "" for any board at the address.
    """

    name: str
    address: str
    board: str = ""
    meter: str = "none"
    tags: Mapping[str, str] = field(default_factory=dict)
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """An inference runtime on the board.

    Attributes:
        name: "onnxruntime" or "litert".
        version: Its own version text; None when it is not installed.
        providers: Execution providers that the installed build lists (a build-time list, no promise).
        reason: Why it cannot be used; "" when it can.
    """

    name: str
    version: str | None
    providers: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What the agent says of its board.

    Attributes:
        device_id: Stable across reboots: a hash of the machine id.
        boot_id: New at every boot.
        agent: The agent's version.
        agent_sha256: Of the agent file that runs.
        python: Version of the board's Python.
        model: The board, such as "Raspberry Pi 5 Model B Rev 1.0".
        os: Such as "Debian GNU/Linux 12 (bookworm)".
        kernel: Such as "6.1.0-18-arm64".
        arch: As `uname -m` says.
        cpu_count: Processors that the agent may use.
        memory_bytes: Installed.
        disk_free_bytes: Where the agent keeps its files.
        governor: cpufreq governor of the first processor; None where there is none.
        runtimes: Known runtimes, installed or not.
        sensors: Names of the readable sensors.
    """

    device_id: str
    boot_id: str
    agent: str
    agent_sha256: str
    python: str
    model: str
    os: str
    kernel: str
    arch: str
    cpu_count: int
    memory_bytes: int | None
    disk_free_bytes: int
    governor: str | None
    runtimes: tuple[RuntimeInfo, ...]
    sensors: tuple[str, ...] = ()

    @property
    def counts_instructions(self) -> bool:
        """Whether the board's times are counts of instructions, and no processor's times."""
        return self.model.endswith(COUNTS_INSTRUCTIONS)

    def runtime(self, name: str) -> RuntimeInfo | None:
        """Return the runtime called `name`, or None if the agent does not know it."""
        return next((runtime for runtime in self.runtimes if runtime.name == name), None)

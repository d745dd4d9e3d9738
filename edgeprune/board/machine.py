"""What QEMU is told: the machine of a board, as a command line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeprune.board.building.image import Image
from edgeprune.board.host_tools import QEMU
from edgeprune.values.device import COUNTS_INSTRUCTIONS

MODEL = "EdgePrune virtual arm64 board"
MODES = ("realtime", "counted")
MEMORY_MIB = 1024
_BOOT_ARGUMENTS = "console=ttyAMA0,115200 quiet loglevel=3 random.trust_cpu=on norandmaps"


@dataclass(frozen=True, slots=True)
class Parts:
    """A board's own files.

    Attributes:
        folder: Where they lie.
    """

    folder: Path

    @property
    def disk(self) -> Path:
        """What the board changed of its image's disk (qcow2)."""
        return self.folder / "disk.qcow2"

    @property
    def ramdisk(self) -> Path:
        """The initial RAM disk with this board's keys and name."""
        return self.folder / "initrd"

    @property
    def device_tree(self) -> Path:
        """The machine as Linux sees it."""
        return self.folder / "board.dtb"

    @property
    def console_log(self) -> Path:
        """What was said on the console since the board was started."""
        return self.folder / "console.log"

    @property
    def qemu_log(self) -> Path:
        """What QEMU said."""
        return self.folder / "qemu.log"


def model(mode: str) -> str:
    """Return what a board calls itself in its device tree."""
    return f"{MODEL}, {COUNTS_INSTRUCTIONS}" if mode == "counted" else MODEL


def hardware(mode: str) -> list[str]:
    """Return the part of the command that decides what the device tree says.

    Args:
        mode: "realtime", or "counted": one processor, and a clock that goes on by 1 ns with each instruction. While
            the processor sleeps it follows the host's clock, so that dates and heartbeats stay right.

    Returns:
        Arguments.
    """
    counted = mode == "counted"
    clock = ["-icount", "shift=0,sleep=on"] if counted else []
    processors = "1" if counted else "2"
    threads = "single" if counted else "multi"
    return [
        "-cpu", "cortex-a72", "-smp", processors, "-m", str(MEMORY_MIB), "-accel", f"tcg,thread={threads}", *clock
    ]  # fmt: skip


def describe_command(mode: str, device_tree: Path) -> list[str]:
    """Return the command that writes the machine's own device tree."""
    return [QEMU, "-nodefaults", "-M", f"virt,dumpdtb={_escaped(device_tree)}", *hardware(mode), "-display", "none"]


def start_command(mode: str, image: Image, parts: Parts, port: int) -> list[str]:
    """Return the command that runs a board until it is powered off.

    Args:
        mode: See `hardware`.
        image: What it was made of.
        parts: Its own.
        port: On loopback, of its SSH server; the board reaches nothing else, neither the host nor a network.

    Returns:
        Program and arguments. The console is a pseudo terminal, which QEMU names in its log.
    """
    # A write is done when the host has it: what the board was told to be durable is, whenever QEMU is killed.
    disk = f"if=none,id=disk,format=qcow2,cache=writethrough,file={_escaped(parts.disk)}"
    network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
    return [
        QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M", "virt", *hardware(mode),
        "-kernel", str(image.kernel), "-initrd", str(parts.ramdisk), "-dtb", str(parts.device_tree),
        "-append", _BOOT_ARGUMENTS,
        "-drive", disk, "-device", "virtio-blk-pci,drive=disk",
        "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=",
        "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
        "-chardev", f"pty,id=console,logfile={_escaped(parts.console_log)}", "-serial", "chardev:console",
    ]  # fmt: skip


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")  # QEMU's own rule for a comma in an option

"""A Debian kernel package -> the kernel, and an initial RAM disk that mounts the board's disk."""

from __future__ import annotations

import gzip
import lzma
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeprune.board.building import cpio
from edgeprune.errors import EdgePruneError

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "crc32c_generic", "ext4")
"""What the board's devices and disk need; what is part of the kernel itself has no file."""
_INIT = Path(__file__).parent / "initrd-init"
_MODULE = re.compile(r"(?P<name>[\w-]+)\.ko(?P<packing>\.xz)?")
_DEPENDS = re.compile(rb"(?<![ -~])depends=([^\0]*)\0")


@dataclass(frozen=True, slots=True)
class Kernel:
    """What was in a kernel's package.

    Attributes:
        image: The kernel.
        modules: Its modules by name.
    """

    image: bytes
    modules: Mapping[str, bytes]


def read_kernel(package: Path) -> Kernel:
    """Read a kernel's package.

    Args:
        package: Its file.

    Returns:
        The kernel and all its modules.

    Raises:
        EdgePruneError: There is no kernel in it.
    """
    image, modules = b"", {}
    for name, data in _files(package):
        if found := _MODULE.fullmatch(name):
            modules[_plain(found["name"])] = lzma.decompress(data) if found["packing"] else data
        elif name.startswith("vmlinuz-"):
            image = data
    if not image:
        raise EdgePruneError(f"There is no kernel in {package.name}.", "Build the image again.")
    return Kernel(image, modules)


def loading_order(modules: Mapping[str, bytes]) -> list[str]:
    """Return which modules the board loads, each after those that it needs.

    Args:
        modules: Content by name.

    Returns:
        Names.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name in modules and name not in order:
            for needed in needs(modules[name]):
                visit(needed)
            order.append(name)

    for name in MODULES:
        visit(name)
    return order


def needs(module: bytes) -> list[str]:
    """Return the names of the modules that a module needs, as its own section .modinfo says."""
    found = _DEPENDS.search(module)
    return [_plain(name) for name in found[1].decode("ascii").split(",") if name] if found else []


def initial_ramdisk(modules: Mapping[str, bytes], busybox: bytes) -> bytes:
    """Return the initial RAM disk.

    Args:
        modules: The kernel's, by name.
        busybox: A statically linked one for the board.

    Returns:
        A packed cpio archive; a board's own one may follow it.
    """
    order = loading_order(modules)
    folders = [cpio.folder(name) for name in ("bin", "dev", "modules", "new", "seed")]
    files = [
        cpio.file("init", _INIT.read_bytes(), 0o755),
        cpio.file("bin/busybox", busybox, 0o755),
        cpio.file("modules/order", "".join(f"{name}.ko\n" for name in order).encode()),
        *(cpio.file(f"modules/{name}.ko", modules[name]) for name in order),
    ]
    packed = gzip.compress(cpio.archive([*folders, *files]), compresslevel=1, mtime=0)
    return packed + b"\0" * (-len(packed) % 4)


def _files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file in a package."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if stream := archive.extractfile(member):
                yield PurePosixPath(member.name).name, stream.read()


def _plain(name: str) -> str:
    return name.replace("-", "_")

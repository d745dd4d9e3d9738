"""The image of a virtual board: made once, kept in the user's cache under a hash of what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgeprune.board import folders
from edgeprune.board.building import kernel, packages, tree, wheels
from edgeprune.board.host_tools import TO_BUILD, require, run
from edgeprune.devices.board_check import generic_board
from edgeprune.devices.profiles import board_types
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.json import content_id, to_data

DISK_SIZE = "2G"
"""Room for the agent's store; the file is sparse."""


@dataclass(frozen=True, slots=True)
class Image:
    """Files of which a board is made; none of them is ever changed.

    Attributes:
        folder: Where they lie.
    """

    folder: Path

    @property
    def digest(self) -> str:
        """Its name: a hash over the recipe and the names and versions of all packages, 16 hex digits."""
        return self.folder.name

    @property
    def kernel(self) -> Path:
        """Of Linux."""
        return self.folder / "vmlinuz"

    @property
    def ramdisk(self) -> Path:
        """The initial one, without a board's own part."""
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        """The root file system, ext4 with a journal."""
        return self.folder / "disk.ext4"

    @property
    def contents(self) -> Path:
        """JSON: the packages and wheels that are in it."""
        return self.folder / "contents.json"


def recipe_digest() -> str:
    """Return the hash over this folder's files, the runtimes that the profiles name, and the host's distribution.

    Which versions apt finds on the day is not part of it: an image is used until `build(fresh=True)`.
    """
    here = Path(__file__).parent
    sources = sorted(path for path in here.rglob("*") if path.is_file() and path.suffix != ".pyc")
    hashes = {str(path.relative_to(here)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}
    system = platform.freedesktop_os_release()
    runtimes = to_data(generic_board("aarch64", board_types()).facts)
    return content_id(hashes, runtimes, [system["ID"], system.get("VERSION_ID", "")])


def find_image(digest: str | None = None) -> Image | None:
    """Return an image of the cache.

    Args:
        digest: Its name; None for the newest one of today's recipe.

    Returns:
        The image, or None if it is not there.
    """
    name = digest or _newest()
    image = Image(folders.cache() / name) if name else None
    return image if image is not None and image.contents.is_file() else None


def build(listener: Listener = ignore, *, fresh: bool = False) -> Image:
    """Return the image, and make it if it is not there.

    Args:
        listener: Hears of the steps.
        fresh: Whether to make it anew, of the newest packages; boards that were made of the old one keep it.

    Returns:
        The image.
    """
    with folders.locked(folders.cache()):
        found = find_image()
        if found is not None and not fresh:
            return found
        require(TO_BUILD)
        with tempfile.TemporaryDirectory(dir=folders.cache(), prefix=".building-") as folder:
            return _keep(_make(Path(folder), listener))


def _make(folder: Path, listener: Listener) -> Path:
    started = time.monotonic()
    root, made = folder / "root", folder / "image"
    made.mkdir()
    apt = packages.Apt(folder / "apt")
    _tell(listener, "asks apt for the lists of arm64 packages")
    apt.update()
    _tell(listener, "fetches Debian packages")
    system = apt.fetch(packages.PACKAGES)
    target = wheels.python_of(system)
    with ThreadPoolExecutor(1) as fetching:
        fetched = fetching.submit(wheels.fetch_runtimes, target, folder / "wheels")
        linux = apt.fetch_kernel(packages.KERNEL)
        _tell(listener, f"unpacks {len(system)} packages, fetches wheels for {target}")
        tree.unpack(system, root)
        tree.set_up(root)
        code = wheels.unpack_wheels(fetched.result(), target, root)
    _tell(listener, "compiles the board's Python")
    tree.compile_python([code, root / f"usr/lib/python3.{target.python[1]}"], root, target.python[1])
    _tell(listener, "makes the disk")
    unpacked = kernel.read_kernel(linux)
    (made / "vmlinuz").write_bytes(unpacked.image)
    (made / "initrd").write_bytes(kernel.initial_ramdisk(unpacked.modules, (root / "bin/busybox").read_bytes()))
    _make_disk(root, made / "disk.ext4")
    contents = {
        "packages": [path.name for path in (linux, *system)],
        "wheels": [path.name for path in fetched.result()],
        "built_in_s": round(time.monotonic() - started, 1),
    }
    (made / "contents.json").write_text(json.dumps(contents, indent=1), "utf-8")
    return made


def _make_disk(root: Path, disk: Path) -> None:
    # An ordinary user's files are root's in a name space of that user's own.
    as_root = ["unshare", "--map-root-user"] if os.geteuid() else []
    run([*as_root, "mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", root, disk, DISK_SIZE])


def _keep(made: Path) -> Image:
    contents = json.loads((made / "contents.json").read_text("utf-8"))
    image = Image(folders.cache() / content_id(recipe_digest(), contents["packages"], contents["wheels"]))
    if not image.folder.exists():
        made.rename(image.folder)
    pointer = _pointer()
    draft = pointer.with_suffix(".new")
    draft.write_text(image.digest, "utf-8")
    draft.replace(pointer)
    return image


def _newest() -> str | None:
    return _pointer().read_text("utf-8") if _pointer().is_file() else None


def _pointer() -> Path:
    return folders.cache() / f"recipe-{recipe_digest()}"


def _tell(listener: Listener, message: str) -> None:
    listener(Event("board", "image", message=message))

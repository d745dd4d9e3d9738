"""Packs the agent into the one file that boards run. The same sources give the same bytes, and so the same name."""

from __future__ import annotations

import bz2
import hashlib
import importlib.resources
import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path

from edgeprune.devices.agent_source import slim
from edgeprune.errors import ConnectFailed, StorageError

PACKAGE = "edgeprune_agent"
_START = """\
import sys

from edgeprune_agent import compiled

compiled.use(sys.argv[0])

from edgeprune_agent.__main__ import main

sys.exit(main(sys.argv[1:]))
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FIRST = frozenset(f"{name}.py" for name in (
    "__init__", "__main__", "answers", "arguments", "channel", "compiled", "console", "folders", "identity", "lease",
    "requests", "rest", "serial_link", "server", "store", "tty_port", "upload",
))  # fmt: skip
"""Modules that are typed into a console: those without which an agent cannot take anything over its link."""
_TYPED = frozenset({f"{PACKAGE}/stage0.py"})
_HOST_ONLY = {f"{PACKAGE}/wire/climber.py": b"Climber = None\n"}
"""What stands for modules of which a board makes no use."""
_LATE = frozenset({f"{PACKAGE}/wire/packed_model.py"})
"""The one module of the wire that no link needs."""
_INSTALLERS = frozenset({f"{PACKAGE}/venvs.py", f"{PACKAGE}/wheels.py"})


def pack_agent() -> bytes:
    """Return the agent as a zip file that Python runs.

    Nothing in it depends on when, where or by which zlib it was packed: entries are sorted, dated alike and stored
    as they are.

    Returns:
        The bytes of `agent.pyz`.
    """
    return _pack(_all_sources())


@lru_cache(maxsize=2)
def pack_slim_agent(whole: bool = False) -> bytes:
    """Return the first part of the agent, in few bytes: for lines on which each kilobyte counts.

    Args:
        whole: With what installs wheels, which few sessions need.

    Returns:
        The bytes of `agent.pyz`, which asks for its second part in its HELLO.
    """
    sources = {name: source for name, source in _slim_sources().items() if _is_first(name)}
    if not whole:
        sources = {name: source for name, source in sources.items() if name not in _INSTALLERS}
    digest = hashlib.sha256(pack_second_part()).hexdigest()
    name = f"{PACKAGE}/rest.py"
    return _pack({**sources, name: sources[name].replace(b'SHA256 = ""', f'SHA256 = "{digest}"'.encode())})


@cache
def pack_second_part() -> bytes:
    """Return the rest of the agent that `pack_slim_agent` gives."""
    return _pack({name: source for name, source in _slim_sources().items() if not _is_first(name)})


def second_part(sha256: str, features: object) -> bytes | None:
    """Return what an agent wants to have sent as its second part.

    Args:
        sha256: Of its file, from its HELLO.
        features: From its HELLO.

    Returns:
        The part, packed as it asks for; None if it wants none.

    Raises:
        ConnectFailed: It wants the second part of another version than ours.
    """
    if not isinstance(features, list) or "rest" not in features:
        return None
    if sha256 not in {hashlib.sha256(pack_slim_agent(whole)).hexdigest() for whole in (False, True)}:
        raise ConnectFailed("The agent there is incomplete and of another version.", "End it, or restart the board.")
    part = pack_second_part()
    return bz2.compress(part) if "rest.bz2" in features else zlib.compress(part, 9)


def _is_first(name: str) -> bool:
    folder, _, module = name.removeprefix(f"{PACKAGE}/").rpartition("/")
    typed = (not folder and module in _FIRST) or name in _INSTALLERS or name == "__main__.py"
    return typed or (folder == "wire" and name not in _LATE)


@cache
def _slim_sources() -> dict[str, bytes]:
    slimmed = {name: slim(source) for name, source in _all_sources().items() if name not in _TYPED}
    return {**slimmed, **_HOST_ONLY}


def _all_sources() -> dict[str, bytes]:
    package = importlib.resources.files(PACKAGE)
    return dict(_sources(package, PACKAGE)) | {"__main__.py": _START.encode()}


def _pack(sources: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, sources[name])
    return packed.getvalue()


def _sources(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{name}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{name}/{entry.name}", entry.read_bytes()


def cache_folder() -> Path:
    """Return where packed agents are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "edgeprune" / "agent"


def cached_agent() -> Path:
    """Return the packed agent as a file named by its SHA-256, written if it is not there.

    Returns:
        Its path.

    Raises:
        StorageError: The folder cannot be written.
    """
    packed = pack_agent()
    path = cache_folder() / f"{hashlib.sha256(packed).hexdigest()}.pyz"
    try:
        if not path.is_file() or path.read_bytes() != packed:
            _write(path, packed)
    except OSError as error:
        step = "Free it, or set XDG_CACHE_HOME to a folder that can be written."
        raise StorageError(f"The agent cannot be put into {path.parent}: {error.strerror}.", step) from error
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as draft:
        try:
            draft.write(data)
            draft.flush()
            Path(draft.name).replace(path)
        except OSError:
            Path(draft.name).unlink(missing_ok=True)
            raise

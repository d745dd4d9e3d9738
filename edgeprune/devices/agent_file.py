"""Packs the agent into the one file that boards run. The same sources give the same bytes, and so the same name."""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path

from edgeprune.devices.agent_source import slim
from edgeprune.errors import StorageError

PACKAGE = "edgeprune_agent"
_START = """\
import sys

from edgeprune_agent.__main__ import main

sys.exit(main(sys.argv[1:]))
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_TYPED = frozenset({f"{PACKAGE}/stage0.py"})
_INSTALLERS = frozenset({f"{PACKAGE}/venvs.py", f"{PACKAGE}/wheels.py"})
_PINNING = frozenset({f"{PACKAGE}/pinning.py"})


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
    """Return the agent as `pack_agent` does, but half as long: for lines on which each kilobyte counts.

    Args:
        whole: With what installs wheels and pins clocks, which few sessions need.

    Returns:
        The bytes of `agent.pyz`.
    """
    left_out = _TYPED if whole else _TYPED | _INSTALLERS | _PINNING
    return _pack({name: slim(source) for name, source in _all_sources().items() if name not in left_out})


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

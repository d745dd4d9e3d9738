"""The `.edgeprune` folder of a project: what can be made again, named by what it was made from.

    models/<id>/{recipe.json, weights.safetensors, report.json}     pruned and fine-tuned
    artifacts/<id>/{model.onnx|model.tflite, artifact.json}         exported

Everything appears under its final name whole or not at all, so a killed process leaves at most a temporary file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeprune.errors import StorageError


class Workspace:
    """A folder for intermediate results.

    Args:
        folder: Created when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def model(self, identity: str) -> Path:
        """Return where the pruned model of this identity lies or will lie."""
        return self.folder / "models" / identity

    def artifact(self, identity: str) -> Path:
        """Return where the artifact of this identity lies or will lie."""
        return self.folder / "artifacts" / identity


def folder_digest(folder: Path) -> str:
    """Return a content hash of the recipe and the weights in a folder that a prune wrote."""
    digest = hashlib.sha256()
    for name in ("recipe.json", "weights.safetensors"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Write a folder that appears all at once.

    Args:
        path: Its final name; what stood there is replaced.

    Yields:
        A temporary folder beside it; renamed when the block ends, removed if it raises.

    Raises:
        StorageError: The disk is full or refuses.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        with disk_errors(path):
            for file in temporary.iterdir():
                _sync(file)
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals into one message.

    Args:
        path: What is written, for the message.

    Yields:
        Nothing.

    Raises:
        StorageError: An OSError happened inside.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {error.strerror or error}.", "Free some space, or make the folder writable."
        ) from error


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", "utf-8")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The files of one release: put together from the store, summed, verified."""

import hashlib
import json
import math
import os
import shutil
from typing import Any, Dict, Optional

from edgeprune_agent.folders import sync_folder
from edgeprune_agent.runtimes import FORMATS
from edgeprune_agent.wire import AgentError

MAX_MANIFEST_BYTES = 8192
_SUMS, _MANIFEST = "SHA256SUMS", "manifest.json"


def manifest_text(format: str, sha: str, golden: Optional[str], manifest: Dict[str, Any]) -> bytes:
    """Return the manifest as it lies in the release: the host's data, and what the agent itself reads from it.

    Args:
        format: "onnx" or "tflite".
        sha: Of the model file.
        golden: Of the golden file, or None.
        manifest: The host's JSON data.

    Returns:
        JSON text.

    Raises:
        AgentError: E_ARG: something is not as it must be. E_LIMIT: it is too long.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise AgentError("E_ARG", "format must be one of {}.".format(", ".join(sorted(FORMATS))))
    if not isinstance(manifest, dict):
        raise AgentError("E_ARG", "The manifest is an object.")
    tolerance: Any = manifest.get("tolerance")
    if golden is not None and (type(tolerance) not in (int, float) or not 0 <= tolerance < math.inf):
        raise AgentError("E_ARG", "A release with golden outputs needs a tolerance in its manifest.")
    whole = dict(manifest, format=format, sha256=sha, golden=golden)
    text = json.dumps(whole, sort_keys=True, indent=1).encode("ascii")
    if len(text) > MAX_MANIFEST_BYTES:
        raise AgentError("E_LIMIT", "A manifest has at most {} bytes.".format(MAX_MANIFEST_BYTES))
    return text


def build(folder: str, sources: Dict[str, str], stored: Dict[str, str], manifest: bytes) -> None:
    """Fill a new folder and make all of it durable.

    Args:
        folder: Where; it does not exist yet.
        sources: Name of each file from the store to its digest.
        stored: The same names to where the store keeps them.
        manifest: Text of the manifest.
    """
    os.mkdir(folder, 0o700)
    for name, digest in sources.items():
        _take(stored[name], os.path.join(folder, name), digest)
    write(os.path.join(folder, _MANIFEST), manifest)
    lines = ["{}  {}\n".format(digest, name) for name, digest in sorted(_sums_of(sources, manifest).items())]
    write(os.path.join(folder, _SUMS), "".join(lines).encode("ascii"))
    sync_folder(folder)


def _sums_of(sources: Dict[str, str], manifest: bytes) -> Dict[str, str]:
    return dict(sources, **{_MANIFEST: hashlib.sha256(manifest).hexdigest()})


def _take(source: str, target: str, digest: str) -> None:
    # As a second name of the same file where the disk allows it, else as a copy.
    if not os.path.isfile(source):
        raise AgentError("E_NOTFOUND", "The store has no file {}.".format(digest))
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())
    if digest_of(target) != digest:
        os.unlink(source)  # so that the next push sends it again
        raise AgentError("E_HASH", "The stored file {} was damaged and is gone.".format(digest), retry=True)


def holds(folder: str, sources: Dict[str, str], manifest: bytes) -> bool:
    """Return whether a folder is whole and was built of these very files."""
    return _read_sums(folder) == _sums_of(sources, manifest) and damaged(folder) is None


def damaged(folder: str) -> Optional[str]:
    """Return the name of a file that is missing or not what SHA256SUMS says; None for a whole release."""
    sums = _read_sums(folder)
    if _MANIFEST not in sums:
        return _SUMS
    for name, digest in sums.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or digest_of(path) != digest:
            return name
    return None


def _read_sums(folder: str) -> Dict[str, str]:
    try:
        with open(os.path.join(folder, _SUMS), encoding="ascii") as file:
            return {name: digest for digest, name in (line.rstrip("\n").split("  ", 1) for line in file)}
    except (OSError, ValueError):
        return {}


def write(path: str, data: bytes) -> None:
    """Write a file and make its content durable."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def digest_of(path: str) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()

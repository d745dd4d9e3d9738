"""Releases: whole, verified folders, and the one symbolic link that says which of them is in use.

Every change ends in one rename, after everything that it needs is on the disk, so a power cut at any instant leaves
`current` at a whole release or, before the first one, nowhere. Repeating a request changes nothing more.
"""

import datetime
import hashlib
import json
import math
import os
import shutil
from typing import Any, Dict, List, Optional

from edgeprune_agent.runtimes import FORMATS
from edgeprune_agent.wire import NAMES, AgentError, check_name

MAX_MANIFEST_BYTES = 8192
_CURRENT, _PREVIOUS = "current", "previous"


class Releases:
    """The models of one root.

    Args:
        root: The agent's folder.
    """

    def __init__(self, root: str) -> None:
        self._objects, self._models = os.path.join(root, "objects"), os.path.join(root, "models")

    def stage(
        self, model: str, release: str, format: str, sha: str, golden: Optional[str], manifest: Dict[str, Any]
    ) -> Dict[str, Any]:
        """Build a release from files of the store; `current` stays where it is.

        Args:
            model: Name on this board.
            release: Id of the new release.
            format: "onnx" or "tflite".
            sha: Of the model file.
            golden: Digest of a safetensors file of inputs and outputs; None for a release that cannot be checked.
            manifest: JSON data of the host's; `tolerance` (max |Δ| of the golden outputs) is required with `golden`.

        Returns:
            `path`: the release's folder, on the disk for good.

        Raises:
            AgentError: E_ARG: an argument is wrong, or the id is taken by other files. E_NOTFOUND: the store lacks a
                file. E_HASH: a stored file was damaged. E_LIMIT: the manifest is too long.
        """
        folder = self.folder(model, release)
        text = _manifest_text(format, sha, golden, manifest)
        sources = {"model." + format: sha}
        if golden is not None:
            sources["golden.safetensors"] = golden
        sums = dict(sources, **{"manifest.json": hashlib.sha256(text).hexdigest()})
        if os.path.isdir(folder):
            if self._sums(folder) != sums or self.damaged(model, release):
                raise AgentError("E_ARG", "Release {} of {} exists with other files.".format(release, model))
            return {"path": folder}
        parent = os.path.dirname(folder)
        os.makedirs(parent, 0o700, exist_ok=True)
        _sweep(parent)
        draft = os.path.join(parent, ".new-" + release)
        os.mkdir(draft, 0o700)
        for name, digest in sources.items():
            self._take(digest, os.path.join(draft, name))
        _write(os.path.join(draft, "manifest.json"), text)
        lines = ["{}  {}\n".format(digest, name) for name, digest in sorted(sums.items())]
        _write(os.path.join(draft, "SHA256SUMS"), "".join(lines).encode("ascii"))
        _sync_folder(draft)
        os.rename(draft, folder)
        for path in (parent, os.path.dirname(parent), self._models):
            _sync_folder(path)
        return {"path": folder}

    def switch(self, model: str, release: Optional[str]) -> Dict[str, Any]:
        """Let `current` point at a release, and `previous` at the one before.

        Args:
            model: Name on this board.
            release: Id; None takes `current` away, for a first release that failed its health check.

        Returns:
            `previous`: the id that `rollback` returns to, or None.

        Raises:
            AgentError: E_NOTFOUND: there is no such release. E_HASH: one of its files was changed.
        """
        old = self.current(model)
        if release is None:
            self._unlink(model, _CURRENT)
            self._note(model, {"op": "switch", "from": old, "to": None}, changed=old is not None)
            return {"previous": self._linked(model, _PREVIOUS)}
        self._check_whole(model, release)
        if old != release:
            if old is None:
                self._unlink(model, _PREVIOUS)
            else:
                self._link(model, _PREVIOUS, old)
            self._link(model, _CURRENT, release)
            self._note(model, {"op": "switch", "from": old, "to": release})
        return {"previous": self.previous(model)}

    def rollback(self, model: str, release: Optional[str]) -> Dict[str, Any]:
        """Go back to an earlier release; `previous` then points at the newest one older than it.

        Args:
            model: Name on this board.
            release: Id; None for `previous`.

        Returns:
            `current` and `previous` as they are now.

        Raises:
            AgentError: E_NOTFOUND: there is nothing to go back to. E_HASH: one of its files was changed.
        """
        old, target = self.current(model), release or self.previous(model)
        if target is None:
            raise AgentError("E_NOTFOUND", "{} has no earlier release.".format(model))
        self._check_whole(model, target)
        if target != old:
            self._link(model, _CURRENT, target)
        before = self._older(model, target)
        if before is None:
            self._unlink(model, _PREVIOUS)
        else:
            self._link(model, _PREVIOUS, before)
        self._note(model, {"op": "rollback", "from": old, "to": target}, changed=target != old)
        return {"current": target, "previous": before}

    def list(self, model: Optional[str]) -> Dict[str, Any]:
        """Return what is installed.

        Args:
            model: Name on this board; None for all models, then without manifests.

        Returns:
            `releases`: of each its model, id, path, and whether `current` or `previous` points at it, and its manifest.
        """
        names = self._model_names() if model is None else [check_name("model", model)]
        return {"releases": [self._row(name, release, model) for name in names for release in self._ids(name)]}

    def remove(self, model: str, release: str) -> Dict[str, Any]:
        """Delete a release.

        Args:
            model: Name on this board.
            release: Id; one that is not there is as good as removed.

        Returns:
            Nothing in it.

        Raises:
            AgentError: E_ARG: it is the current one.
        """
        folder = self.folder(model, release)
        if self.current(model) == release:
            raise AgentError("E_ARG", "Release {} of {} is in use.".format(release, model))
        if self._linked(model, _PREVIOUS) == release:
            before = self._older(model, release)
            if before is None:
                self._unlink(model, _PREVIOUS)
            else:
                self._link(model, _PREVIOUS, before)
        if os.path.isdir(folder):
            doomed = os.path.join(os.path.dirname(folder), ".old-" + release)
            shutil.rmtree(doomed, ignore_errors=True)
            os.rename(folder, doomed)
            shutil.rmtree(doomed, ignore_errors=True)
            self._note(model, {"op": "remove", "from": release, "to": None})
        return {}

    def record(self, model: str, entry: Dict[str, Any]) -> Dict[str, Any]:
        """Append to the model's journal.

        Args:
            model: Name on this board.
            entry: JSON data; the board's time is added as `board_utc`.

        Returns:
            Nothing in it.

        Raises:
            AgentError: E_ARG: it is no JSON object. E_LIMIT: it is too long.
        """
        check_name("model", model)
        if not isinstance(entry, dict) or len(json.dumps(entry)) > MAX_MANIFEST_BYTES:
            raise AgentError("E_LIMIT", "A journal entry is an object of at most {} bytes.".format(MAX_MANIFEST_BYTES))
        self._note(model, entry)
        return {}

    def current(self, model: str) -> Optional[str]:
        """Return the id of the release in use, or None."""
        return self._linked(model, _CURRENT)

    def previous(self, model: str) -> Optional[str]:
        """Return the id that `rollback` goes to, or None.

        When a power cut fell between the two links of a switch, `previous` equals `current` and the newest release that
        is older takes its place.
        """
        linked, current = self._linked(model, _PREVIOUS), self.current(model)
        return self._older(model, current) if linked is not None and linked == current else linked

    def folder(self, model: str, release: str) -> str:
        """Return the path of a release, whether it exists or not."""
        check_name("model", model)
        check_name("release", release)
        return os.path.join(self._models, model, "releases", release)

    def manifest(self, model: str, release: str) -> Dict[str, Any]:
        """Return a release's manifest."""
        with open(os.path.join(self.folder(model, release), "manifest.json"), encoding="utf-8") as file:
            return dict(json.load(file))

    def damaged(self, model: str, release: str) -> Optional[str]:
        """Return the name of a file that is missing or not what SHA256SUMS says; None for a whole release."""
        folder = self.folder(model, release)
        sums = self._sums(folder)
        if "manifest.json" not in sums:
            return "SHA256SUMS"
        for name, digest in sums.items():
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or _digest(path) != digest:
                return name
        return None

    def _check_whole(self, model: str, release: str) -> None:
        if not os.path.isdir(self.folder(model, release)):
            raise AgentError("E_NOTFOUND", "{} has no release {}.".format(model, release))
        damaged = self.damaged(model, release)
        if damaged:
            raise AgentError("E_HASH", "{} of release {} was changed or is missing.".format(damaged, release))

    def _row(self, model: str, release: str, wanted: Optional[str]) -> Dict[str, Any]:
        row = {
            "model": model, "release": release, "path": self.folder(model, release),
            "current": release == self.current(model), "previous": release == self.previous(model),
        }  # fmt: skip
        if wanted is not None:
            row["manifest"] = self.manifest(model, release)
        return row

    def _take(self, digest: str, target: str) -> None:
        # Put a stored file into a release: as a second name of the same file where the disk allows, else as a copy.
        source = os.path.join(self._objects, check_name("sha", digest)[:2], digest)
        if not os.path.isfile(source):
            raise AgentError("E_NOTFOUND", "The store has no file {}.".format(digest))
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())
        if _digest(target) != digest:
            raise AgentError("E_HASH", "The stored file {} was damaged; send it again.".format(digest))

    def _link(self, model: str, name: str, release: str) -> None:
        folder = os.path.join(self._models, model)
        draft = os.path.join(folder, "." + name + ".new")
        if os.path.lexists(draft):
            os.unlink(draft)
        os.symlink(os.path.join("releases", release), draft)
        os.replace(draft, os.path.join(folder, name))
        _sync_folder(folder)

    def _unlink(self, model: str, name: str) -> None:
        folder = os.path.join(self._models, check_name("model", model))
        if os.path.lexists(os.path.join(folder, name)):
            os.unlink(os.path.join(folder, name))
            _sync_folder(folder)

    def _linked(self, model: str, name: str) -> Optional[str]:
        """Return the id behind a link, if it leads to a release of this model."""
        try:
            target = os.readlink(os.path.join(self._models, check_name("model", model), name))
        except OSError:
            return None
        release = os.path.basename(target)
        return release if NAMES["release"].fullmatch(release) and os.path.isdir(self.folder(model, release)) else None

    def _older(self, model: str, release: Optional[str]) -> Optional[str]:
        older = [known for known in self._ids(model) if release is not None and known < release]
        return older[-1] if older else None

    def _ids(self, model: str) -> List[str]:
        folder = os.path.join(self._models, model, "releases")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return sorted(name for name in names if NAMES["release"].fullmatch(name))

    def _model_names(self) -> List[str]:
        names = os.listdir(self._models) if os.path.isdir(self._models) else []
        return sorted(name for name in names if NAMES["model"].fullmatch(name))

    def _sums(self, folder: str) -> Dict[str, str]:
        try:
            with open(os.path.join(folder, "SHA256SUMS"), encoding="ascii") as file:
                return {name: digest for digest, name in (line.rstrip("\n").split("  ", 1) for line in file)}
        except (OSError, ValueError):
            return {}

    def _note(self, model: str, entry: Dict[str, Any], changed: bool = True) -> None:
        """Append a line to the journal; a line that a power cut left unfinished is closed first."""
        if not changed:
            return
        folder = os.path.join(self._models, model)
        os.makedirs(folder, 0o700, exist_ok=True)
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = json.dumps(dict(entry, board_utc=now), sort_keys=True).encode("ascii") + b"\n"
        with open(os.path.join(folder, "journal.jsonl"), "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(folder)


def _manifest_text(format: str, sha: str, golden: Optional[str], manifest: Dict[str, Any]) -> bytes:
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


def _sweep(folder: str) -> None:
    """Remove what an interrupted stage or removal left."""
    for name in os.listdir(folder):
        if name.startswith((".new-", ".old-")):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

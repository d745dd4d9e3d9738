"""Releases: whole, verified folders, and the one symbolic link that says which of them is in use.

Every change ends in one rename, after everything that it needs is on the disk, so a power cut at any instant leaves
`current` at a whole release or, before the first one, nowhere. Repeating a request changes nothing more.
"""

import json
import os
import shutil
from typing import Any, Dict, List, Optional

from edgeprune_agent import journal, release_files
from edgeprune_agent.folders import sync_folder
from edgeprune_agent.store import object_path
from edgeprune_agent.wire import NAMES, AgentError, check_name

_CURRENT, _PREVIOUS, _CHECKED = "current", "previous", "checked"


class Releases:
    """The models of one root.

    Args:
        root: The agent's folder.
    """

    def __init__(self, root: str) -> None:
        self._root, self._models = root, os.path.join(root, "models")

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
        text = release_files.manifest_text(format, sha, golden, manifest)
        sources = {"model." + format: sha}
        if golden is not None:
            sources["golden.safetensors"] = golden
        if os.path.isdir(folder):
            if not release_files.holds(folder, sources, text):
                raise AgentError("E_ARG", "Release {} of {} exists with other files.".format(release, model))
            return {"path": folder}
        parent = os.path.dirname(folder)
        os.makedirs(parent, 0o700, exist_ok=True)
        _sweep(parent)
        draft = os.path.join(parent, ".new-" + release)
        stored = {name: object_path(self._root, digest) for name, digest in sources.items()}
        release_files.build(draft, sources, stored, text)
        os.rename(draft, folder)
        for path in (parent, os.path.dirname(parent), self._models):
            sync_folder(path)
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
            `releases`: of each its model, id, path, whether `current` or `previous` points at it, when it last passed
            a check, and its manifest.
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
        if not isinstance(entry, dict):
            raise AgentError("E_ARG", "A journal entry is an object.")
        if len(json.dumps(entry)) > journal.MAX_ENTRY_BYTES:
            raise AgentError("E_LIMIT", "A journal entry has at most {} bytes.".format(journal.MAX_ENTRY_BYTES))
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
        return release_files.damaged(self.folder(model, release))

    def passed(self, model: str, release: str) -> None:
        """Note beside a release that it gave its golden outputs just now, by the board's clock."""
        path = os.path.join(self.folder(model, release), _CHECKED)
        release_files.write(path + ".new", journal.now_utc().encode("ascii"))
        os.replace(path + ".new", path)

    def _checked_utc(self, model: str, release: str) -> Optional[str]:
        try:
            with open(os.path.join(self.folder(model, release), _CHECKED), encoding="ascii") as file:
                return file.read(40)
        except (OSError, ValueError):
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
            "checked_utc": self._checked_utc(model, release),
        }  # fmt: skip
        if wanted is not None:
            row["manifest"] = self.manifest(model, release)
        return row

    def _link(self, model: str, name: str, release: str) -> None:
        folder = os.path.join(self._models, model)
        draft = os.path.join(folder, "." + name + ".new")
        if os.path.lexists(draft):
            os.unlink(draft)
        os.symlink(os.path.join("releases", release), draft)
        os.replace(draft, os.path.join(folder, name))
        sync_folder(folder)

    def _unlink(self, model: str, name: str) -> None:
        folder = os.path.join(self._models, check_name("model", model))
        if os.path.lexists(os.path.join(folder, name)):
            os.unlink(os.path.join(folder, name))
            sync_folder(folder)

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

    def _note(self, model: str, entry: Dict[str, Any], changed: bool = True) -> None:
        if changed:
            folder = os.path.join(self._models, model)
            os.makedirs(folder, 0o700, exist_ok=True)
            journal.append(os.path.join(folder, "journal.jsonl"), entry)


def _sweep(folder: str) -> None:
    """Remove what an interrupted stage or removal left."""
    for name in os.listdir(folder):
        if name.startswith((".new-", ".old-")):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)

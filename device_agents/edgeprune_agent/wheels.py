"""Unpacks wheels into a folder of packages. A wheel is a zip file; nothing in it is run, and every name is checked."""

import base64
import contextlib
import csv
import hashlib
import os
import re
import stat
import zipfile
import zlib
from typing import Any, Dict, Iterable, List, Optional

from edgeprune_agent.wire import AgentError

MAX_UNPACKED_BYTES = 2 << 30
MAX_FILES = 30000
_INFO = re.compile(r"([A-Za-z0-9][A-Za-z0-9._]*)-[A-Za-z0-9][A-Za-z0-9._+!]*\.dist-info")
_PART = re.compile(r"(?!\.\.?$)[^\x00-\x1f\x7f/\\]{1,200}")
_PIECE_BYTES = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, csv.Error)
"""What reading a damaged, encrypted or oddly packed zip file raises."""


class Wheel:
    """A wheel, looked through before anything of it is written.

    Args:
        path: The file; only its content counts, not its name.

    Attributes:
        project: The distribution's name, in the form in which names are compared.
        size: Bytes of its files when unpacked.

    Raises:
        AgentError: E_ARG: it is no wheel, or holds what no wheel may. E_LIMIT: it is too large.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._files = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
                self._info = self._only_info()
                self._hashes = _read_record(archive.read(self._info + "/RECORD"))
        except (KeyError, *_BROKEN) as error:
            raise self._refused("is no wheel: {}".format(error)) from error
        self.project, self.size = project_of(self._info), sum(entry.file_size for entry in self._files)
        if self.size > MAX_UNPACKED_BYTES or len(self._files) > MAX_FILES:
            raise AgentError("E_LIMIT", "The wheel of {} is too large.".format(self.project))
        self._check()

    def _only_info(self) -> str:
        tops = {entry.filename.split("/")[0] for entry in self._files}
        found = [top for top in tops if _INFO.fullmatch(top)]
        if len(found) != 1:
            raise ValueError("it has {} dist-info folders".format(len(found)))
        return found[0]

    def _check(self) -> None:
        names = [entry.filename for entry in self._files]
        if len(set(names)) != len(names):
            raise self._refused("holds a name twice")
        for entry in self._files:
            _parts(entry.filename)
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise self._refused("holds the link {}".format(entry.filename))
            if entry.filename not in self._hashes and not self._is_record(entry.filename):
                raise self._refused("does not list {}".format(entry.filename))

    def unpack(self, site: str) -> None:
        """Write its modules.

        Args:
            site: The folder of packages.

        Raises:
            AgentError: E_HASH: a file is not what the wheel's RECORD says. E_ARG: the wheel is damaged.
        """
        try:
            with zipfile.ZipFile(self._path) as archive:
                for entry in self._files:
                    place = _place(entry.filename, self._info)
                    if place is not None:
                        self._write(archive, entry, os.path.join(site, place))
        except _BROKEN as error:
            raise self._refused("is damaged: {}".format(error)) from error

    def _write(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str) -> None:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        digest = hashlib.sha256()
        with archive.open(entry) as source, open(path, "wb") as target:
            for piece in iter(lambda: source.read(_PIECE_BYTES), b""):
                digest.update(piece)
                target.write(piece)
        said = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        if not self._is_record(entry.filename) and self._hashes[entry.filename] != "sha256=" + said:
            what = "{} in the wheel of {} is not what its RECORD says.".format(entry.filename, self.project)
            raise AgentError("E_HASH", what)

    def _is_record(self, name: str) -> bool:
        return name in [self._info + "/RECORD" + end for end in ("", ".jws", ".p7s")]

    def _refused(self, what: str) -> AgentError:
        return AgentError("E_ARG", "The file {}… {}.".format(os.path.basename(self._path)[:8], what))


def project_of(info: str) -> str:
    """Return whose dist-info folder this is, in the form in which names are compared; "" for another folder."""
    found = _INFO.fullmatch(info)
    return re.sub("[-_.]+", "-", found.group(1)).lower() if found else ""


def carry(old: str, new: str, without: Iterable[str]) -> None:
    """Link the packages of one folder into another, file by file: they take up no room, and stay when the old one goes.

    Args:
        old: A folder that `Wheel.unpack` filled; one that is not there holds nothing.
        new: Where to; what is there stays.
        without: Names of distributions to leave behind.
    """
    infos = os.listdir(old) if os.path.isdir(old) else []
    for info in infos:
        if project_of(info) and project_of(info) not in without:
            with open(os.path.join(old, info, "RECORD"), "rb") as file:
                names = list(_read_record(file.read()))
            for name in names:
                # A program that somebody's pip put elsewhere stays behind.
                with contextlib.suppress(FileExistsError, FileNotFoundError, AgentError):
                    _link(old, new, _place(name, info))


def _link(old: str, new: str, place: Optional[str]) -> None:
    if place is not None:
        os.makedirs(os.path.dirname(os.path.join(new, place)), 0o700, exist_ok=True)
        os.link(os.path.join(old, place), os.path.join(new, place))


def _read_record(data: bytes) -> Dict[str, Any]:
    rows: List[List[str]] = list(csv.reader(data.decode("utf-8").splitlines()))
    return {row[0]: row[1] if len(row) > 1 else "" for row in rows if row}


def _place(name: str, info: str) -> Optional[str]:
    """Return where a file of a wheel belongs, below the folder of packages; None for scripts, headers and data."""
    parts = _parts(name)
    if parts[0] == info[: -len("dist-info")] + "data":
        parts = parts[2:] if parts[1:2] in (["purelib"], ["platlib"]) else []
    return os.path.join(*parts) if parts else None


def _parts(name: str) -> List[str]:
    parts = name.split("/")
    if len(parts) > 40 or not all(map(_PART.fullmatch, parts)):
        raise AgentError("E_ARG", "A wheel holds the name {!r}.".format(name[:200]))
    return parts

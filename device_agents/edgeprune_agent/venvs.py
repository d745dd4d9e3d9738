"""The workers' Python with its packages: ROOT/venv, a link to one of ROOT/venvs/<id>.

A new one is made beside the one in use, tried, and only then put in its place, in one step. What the agent's own Python
sees (the system's packages, or those of the venv that runs it) stays visible behind what was installed.
"""

import hashlib
import json
import os
import shutil
import sys
import sysconfig
from typing import Any, Dict, List, Optional

from edgeprune_agent import runtimes
from edgeprune_agent.arguments import Arguments
from edgeprune_agent.folders import Root, sync_folder, try_lock
from edgeprune_agent.lease import run_is_active
from edgeprune_agent.store import object_path
from edgeprune_agent.upload import full_disk_named
from edgeprune_agent.wheels import Wheel, carry
from edgeprune_agent.wire import NAMES, AgentError, check_name

MAX_WHEELS = 64
_SITE = os.path.join("lib", "python{}.{}".format(*sys.version_info), "site-packages")
_DRAFT = ".new"


def answer(root: Root, reserve_bytes: int, arguments: Arguments) -> Dict[str, Any]:
    """Do what a `venv.` request asks for.

    Args:
        root: The agent's.
        reserve_bytes: What must stay free on its disk.
        arguments: Of the request.

    Returns:
        Its answer.

    Raises:
        AgentError: It is refused.
    """
    venvs, op = Venvs(root, reserve_bytes), arguments.data["op"]
    if op == "venv.switch":
        return venvs.switch(arguments.name("venv", "sha"))
    if op == "venv.show":
        return venvs.show()
    shas = arguments.data.get("wheels")
    if not isinstance(shas, list) or len(shas) > MAX_WHEELS:
        raise AgentError("E_ARG", "wheels must be a list of at most {}.".format(MAX_WHEELS))
    return venvs.stage([check_name("sha", sha) for sha in shas])


class Venvs:
    """The venvs of one root.

    Args:
        root: Where.
        reserve_bytes: What must stay free on the disk.
    """

    def __init__(self, root: Root, reserve_bytes: int) -> None:
        self._root, self._reserve = root, reserve_bytes
        self._folder, self._link = (os.path.join(root.path, name) for name in ("venvs", "venv"))

    def show(self) -> Dict[str, Any]:
        """Return what a host needs to know to find wheels: whether there is a venv and whose, and the Python's kind."""
        state = "none" if not os.path.lexists(self._link) else "ours" if self._current() else "foreign"
        return {"state": state, "soabi": sysconfig.get_config_var("SOABI") or "", "libc": _libc()}

    def stage(self, shas: List[str]) -> Dict[str, Any]:
        """Make a venv of stored wheels and of what the one in use holds, once, and try its runtimes.

        Args:
            shas: The wheels.

        Returns:
            Its id, and what each runtime says of itself there.

        Raises:
            AgentError: E_ARG, E_HASH: a file is no whole wheel. E_NOTFOUND: it is not stored. E_NOSPC, E_LIMIT: it
                is too large. E_BUSY: another venv is being made.
        """
        made_of = [sys.version, os.path.realpath(sys.executable), self._current(), sorted(shas)]
        name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
        lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not try_lock(lock):
                raise AgentError("E_BUSY", "Another venv is being made.", retry=True)
            if not os.path.isdir(os.path.join(self._folder, name)):
                self._make(name, shas)
        finally:
            os.close(lock)
        python = os.path.join(self._folder, name, "bin", "python3")
        return {"venv": name, "runtimes": [runtimes.probe(runtime, python) for runtime in runtimes.OF_WHEELS]}

    def _make(self, name: str, shas: List[str]) -> None:
        self._remove_all_but(self._current())
        draft = os.path.join(self._folder, name + _DRAFT)
        wheels = [Wheel(self._object(sha)) for sha in shas]
        self._check_room(sum(wheel.size for wheel in wheels))
        try:
            with full_disk_named():
                site = _bare(draft, self._root.path)
                for wheel in wheels:
                    wheel.unpack(site)
                carry(os.path.join(self._link, _SITE), site, [wheel.project for wheel in wheels])
                os.sync()  # in a thread of its own, and cheaper than a call for each of some thousand files
            os.rename(draft, os.path.join(self._folder, name))
            sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def switch(self, name: str) -> Dict[str, Any]:
        """Put a venv in the place of the one in use, which is removed.

        Args:
            name: Its id.

        Returns:
            Nothing in it.

        Raises:
            AgentError: E_NOTFOUND: it was not made. E_ARG: the one in use is somebody else's. E_BUSY: a run goes on.
        """
        if run_is_active(self._root.path):
            raise AgentError("E_BUSY", "A run is going on.", retry=True)
        if not os.path.isdir(os.path.join(self._folder, name)):
            raise AgentError("E_NOTFOUND", "There is no such venv.")
        if os.path.lexists(self._link) and self._current() is None:
            raise AgentError("E_ARG", "{} was made by somebody else.".format(self._link))
        draft = "{}.{}{}".format(self._link, os.getpid(), _DRAFT)
        os.symlink(os.path.join("venvs", name), draft)
        os.replace(draft, self._link)
        os.fsync(self._root.fd)
        self._remove_all_but(name)
        return {}

    def _current(self) -> Optional[str]:
        """Return the id of the venv in use; None if there is none or it is not ours."""
        if not os.path.islink(self._link):
            return None
        folder, name = os.path.split(os.readlink(self._link))
        return name if folder == "venvs" and NAMES["sha"].fullmatch(name) else None

    def _remove_all_but(self, kept: Optional[str]) -> None:
        for name in os.listdir(self._folder):
            if name != kept:
                shutil.rmtree(os.path.join(self._folder, name), ignore_errors=True)

    def _object(self, sha: str) -> str:
        path = object_path(self._root.path, sha)
        if not os.path.isfile(path):
            raise AgentError("E_NOTFOUND", "The store has no file {}.".format(sha))
        return path

    def _check_room(self, needed: int) -> None:
        disk = os.fstatvfs(self._root.fd)
        free = max(0, disk.f_bavail * disk.f_frsize - self._reserve)
        if needed > free:
            detail = {"needed": needed, "free": free, "reserve": self._reserve}
            what = "The wheels unpack to {} bytes; {} are left.".format(needed, free)
            raise AgentError("E_NOSPC", what, detail=detail)


def _bare(folder: str, root: str) -> str:
    # By PEP 405 alone: some systems leave the module venv out.
    site, python = os.path.join(folder, _SITE), os.path.realpath(sys.executable)
    os.makedirs(site, 0o700)
    os.mkdir(os.path.join(folder, "bin"), 0o700)
    os.symlink(python, os.path.join(folder, "bin", "python3"))
    with open(os.path.join(folder, "pyvenv.cfg"), "w", encoding="utf-8") as file:
        file.write("home = {}\ninclude-system-site-packages = true\n".format(os.path.dirname(python)))
    ours = os.path.join(root, "venv")
    seen = [path for path in sys.path if path.endswith("-packages") and not path.startswith(ours)]
    with open(os.path.join(site, "board.pth"), "w", encoding="utf-8") as file:
        file.write("".join(path + "\n" for path in seen))
    return site


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""  # not glibc

"""Keeps the agent's code as Python has compiled it, so that only the first agent and the first worker wait for that.

A slow board compiles for seconds, and every measurement is a new process. The code of `agent/<sha256>.pyz` lies in
`compiled/<sha256>.<kind of Python>`: SHA-256 | marshal of {module: (is a package, code)}. What is wrong with that file
in any way is compiled and written anew; where it cannot be written, everything works without it.
"""

import contextlib
import hashlib
import marshal
import os
import sys
import zipimport
from importlib.machinery import ModuleSpec
from typing import Any, Dict, Optional, Tuple

import edgeprune_agent

_PACKAGE = "edgeprune_agent."
_DIGEST_BYTES = 32
_keepers = []  # type: list[Finder]


def use(agent: str) -> None:
    """Import the agent's modules from compiled code from now on, as far as there is some.

    Args:
        agent: Path of its file. In a folder that is not called "agent" nothing is kept beside it.
    """
    folder = os.path.dirname(os.path.abspath(agent))
    if os.path.basename(folder) == "agent" and os.path.isfile(agent):
        finder = Finder(os.path.abspath(agent))
        _keepers.append(finder)
        sys.meta_path.insert(0, finder)


def keep() -> None:
    """Write down what was compiled up to now, if that is new."""
    for finder in _keepers:
        finder.keep()


class Finder:
    """Finds modules of one agent; see `importlib.abc.MetaPathFinder` and `Loader`.

    Args:
        agent: Path of its file.
    """

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._folder = os.path.join(os.path.dirname(os.path.dirname(agent)), "compiled")
        self._name = os.path.basename(agent).replace(".pyz", "") + "." + str(sys.implementation.cache_tag)
        self._codes = self._read()
        self._known = len(self._codes)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        """Return where a module of the agent comes from, None for any other module."""
        if not name.startswith(_PACKAGE) or (name not in self._codes and not self._compile(name)):
            return None
        is_package = self._codes[name][0]
        file = os.path.join(self._agent, *name.split(".")) + ("/__init__.py" if is_package else ".py")
        spec = ModuleSpec(name, self, origin=file, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [os.path.dirname(file)]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the importer."""

    def exec_module(self, module: Any) -> None:
        """Run a module's code."""
        exec(marshal.loads(self._codes[module.__name__][1]), module.__dict__)

    def _compile(self, name: str) -> bool:
        _, *parents, last = name.split(".")
        for package in edgeprune_agent.__path__:
            with contextlib.suppress(ImportError):
                source = zipimport.zipimporter(os.path.join(package, *parents))
                self._codes[name] = (source.is_package(last), marshal.dumps(source.get_code(last)))
                return True
        return False

    def _read(self) -> Dict[str, Tuple[bool, bytes]]:
        try:
            with open(os.path.join(self._folder, self._name), "rb", opener=_open_own) as file:
                digest, content = file.read(_DIGEST_BYTES), file.read()
        except OSError:
            return {}
        return marshal.loads(content) if _digest(content) == digest else {}

    def keep(self) -> None:
        """Write down what was compiled up to now, if that is new."""
        if len(self._codes) == self._known:
            return
        self._known = len(self._codes)
        content = marshal.dumps(self._codes)
        draft = os.path.join(self._folder, "%s.%d.new" % (self._name, os.getpid()))
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            self._forget()
            with open(draft, "wb", opener=_open_own) as file:
                file.write(_digest(content) + content)
            os.replace(draft, os.path.join(self._folder, self._name))
        except OSError:
            return  # a full disk, or one that is read-only: the next process compiles as well

    def _forget(self) -> None:
        kept = os.listdir(os.path.dirname(self._agent))
        for name in os.listdir(self._folder):
            if name.split(".")[0] + ".pyz" not in kept:
                os.unlink(os.path.join(self._folder, name))


def _digest(content: bytes) -> bytes:
    # Another version of Python reads marshalled code differently, or not at all.
    return hashlib.sha256(sys.version.encode() + content).digest()


def _open_own(path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    facts = os.fstat(fd)
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        os.close(fd)
        raise OSError("code that others can exchange is not to be run")
    return fd

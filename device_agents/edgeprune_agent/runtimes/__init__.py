"""Inference runtimes, each behind the same three functions: `describe`, `open_model` and `profile`.

A module here imports its runtime inside its functions only, so that the agent runs on boards that lack it.
"""

import glob
import importlib
import importlib.machinery
import json
import os
import subprocess
import sys
from typing import Any, Dict, List

from edgeprune_agent import identity

RUNTIMES = {"onnxruntime": "onnx", "litert": "tflite", "tensorrt": "tensorrt"}
"""Name of a runtime to the module that drives it."""
FORMATS = {"onnx": ("onnxruntime", "tensorrt"), "tflite": ("litert",)}
"""Format of a model file to the runtimes that take it."""
OF_WHEELS = ("onnxruntime", "litert")
"""What a wheel brings. Others come with a board's system or cannot be had: nothing is said of one that is not there."""
_PROBE_S = 120.0
"""Importing onnxruntime takes 20 s on an emulated board; a slow board needs patience, a hung one must not block."""


class Rejected(Exception):
    """A runtime does not take a model file or its inputs."""


class NoProfile(Exception):
    """A runtime cannot tell how long each node takes."""


def load(name: str) -> Any:
    """Return the module that drives a runtime.

    Args:
        name: A key of `RUNTIMES`.

    Returns:
        A module with `describe` and `open_model`.
    """
    return importlib.import_module(__name__ + "." + RUNTIMES[name])


def stamp(name: str, root: str) -> List[Any]:
    """Return what changes when a runtime is installed, removed or exchanged, without importing it.

    Args:
        name: A key of `RUNTIMES`.
        root: The agent's folder, whose venv counts first.

    Returns:
        JSON data: the Pythons, and path and time of each package of the runtime, or None.
    """
    venv = os.path.join(root, "venv")
    places = glob.glob(os.path.join(venv, "lib", "*", "site-packages")) + sys.path
    found: List[Any] = []
    for package in load(name).PACKAGES:
        spec = importlib.machinery.PathFinder.find_spec(package, places)
        origin = spec.origin if spec is not None else None
        found.append([origin, os.stat(origin).st_mtime] if origin is not None else None)
    return [sys.version, identity.worker_python(root), os.path.realpath(venv), found]


def probe(name: str, python: str) -> Dict[str, Any]:
    """Ask a runtime for its version and providers, in a process of its own: the import may be large, or crash.

    Args:
        name: A key of `RUNTIMES`.
        python: The Python that has it or not.

    Returns:
        name, version or None, providers, and the reason why it cannot be used ("" when it can).
    """
    command = identity.worker_command(python) + ["--probe", name]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=_PROBE_S
        )
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        if done.returncode == 0 and lines:
            return dict(json.loads(lines[-1]))
        reason = "importing it ended with status {}".format(done.returncode)
    except subprocess.TimeoutExpired:
        reason = "importing it took over {:.0f} s".format(_PROBE_S)
    return {"name": name, "version": None, "providers": [], "reason": reason}


def tell(name: str) -> int:
    """Print what a runtime says of itself, as the last line: the far end of `probe`.

    Args:
        name: A key of `RUNTIMES`.

    Returns:
        0, the process's exit status.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    out.write("\n" + json.dumps(load(name).describe()) + "\n")
    out.close()
    return 0

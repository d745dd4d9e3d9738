"""Runs on the board before the agent does: sent as text, Python 3.6, standard library. Finds the agent, or takes it in.

Its argument is JSON in base64: {"sha": of the agent, "size": its length, "root": its folder or "", "quota": bytes or
null, "heard": what the host has said to the agent already, in base64}. It becomes the agent, for which the rest of the
input is meant. If that is not there yet, this says so by `WANTED` and reads exactly `size` bytes.
"""

import base64
import hashlib
import json
import os
import stat
import sys

WANTED = b"EPL/0 agent?\n"
KEPT = 5


def main() -> None:
    """Become the agent; never returns."""
    os.umask(0o077)
    order = json.loads(base64.b64decode(sys.argv[1]).decode("utf-8"))
    root = os.path.abspath(os.path.expanduser(order["root"] or "~/.edgeprune"))
    try:
        _claim(root)
        folder = os.path.join(root, "agent")
        _claim(folder)
        path = os.path.join(folder, order["sha"] + ".pyz")
        if _is_whole(path, order["sha"]):
            os.utime(path)
        else:
            os.write(1, WANTED)
            _take_in(path, order["sha"], order["size"])
            _forget_old(folder)
    except OSError as error:
        sys.exit("{} cannot hold the agent: {}.".format(root, error.strerror or error))
    own = os.path.join(root, "venv", "bin", "python3")
    python = own if os.access(own, os.X_OK) else sys.executable
    quota = [] if order["quota"] is None else ["--quota", str(order["quota"])]
    os.execv(python, [python, "-I", "-u", path, "--root", root, "--heard", order["heard"]] + quota)


def _claim(folder: str) -> None:
    # What others can exchange is not to be run: not between the check of its hash and its start either.
    if not os.path.lexists(folder):
        os.makedirs(folder, 0o700)
    facts = os.lstat(folder)
    if stat.S_ISLNK(facts.st_mode):
        sys.exit("The folder {} cannot be used: it is a symbolic link.".format(folder))
    if facts.st_uid != os.geteuid():
        sys.exit("The folder {} cannot be used: it belongs to another user.".format(folder))
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        sys.exit("The folder {} cannot be used: others may write in it; run chmod 700 on it.".format(folder))


def _is_whole(path: str, sha: str) -> bool:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == sha
    except OSError:
        return False


def _take_in(path: str, sha: str, size: int) -> None:
    data = _read(size)
    if hashlib.sha256(data).hexdigest() != sha:
        sys.exit("The agent was changed on its way.")
    draft = "{}.{}.new".format(path, os.getpid())
    try:
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


def _forget_old(folder: str) -> None:
    try:
        paths = [os.path.join(folder, name) for name in os.listdir(folder)]
        for path in sorted(paths, key=os.path.getmtime)[:-KEPT]:
            os.unlink(path)
    except FileNotFoundError:
        pass  # another starter does the same


def _read(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            sys.exit("The host hung up.")
        data += piece
    return bytes(data)


if __name__ == "__main__":
    main()

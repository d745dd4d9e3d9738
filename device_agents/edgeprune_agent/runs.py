"""Runs: one worker process at a time, started, watched, ended; what it spooled is read from here.

A run is a folder `runs/<id>` with `spec.json`, `status.json`, `events.log`, and, as they come, `pid`, `stderr.txt` and
`output.safetensors`. The worker holds the kernel's lock, so an agent that was started anew, or a second one, sees from
the lock whether the last run goes on.
"""

import datetime
import json
import os
import shutil
import signal
import subprocess
import time
from typing import Any, Dict, List, Optional

from edgeprune_agent import identity, lease
from edgeprune_agent.events import EventIndex, EventWriter, SpoolBusy
from edgeprune_agent.folders import write_whole
from edgeprune_agent.specs import check_spec
from edgeprune_agent.wire import NAMES, AgentError, check_name

KEPT_RUNS = 200
GRACE_S = 3.0
"""Between SIGTERM and SIGKILL."""
_STDERR_LIMIT_BYTES, _STDERR_TAIL_BYTES = 1 << 20, 2000
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "EDGEPRUNE_FILESYSTEM")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SIGNAL_NAMES = {int(number): number.name for number in signal.Signals}
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


class Runs:
    """The runs of one root.

    Args:
        root: The agent's folder.
    """

    def __init__(self, root: str) -> None:
        self._root, self._folder = root, os.path.join(root, "runs")
        os.makedirs(self._folder, 0o700, exist_ok=True)
        self._children: Dict[str, "subprocess.Popen[bytes]"] = {}
        self._kill_at: Dict[str, float] = {}
        self._indices: Dict[str, EventIndex] = {}
        self._unfinished = [run for run in self._names() if self._status(run).get("state") == "running"]
        self.poll()

    def start(self, spec: Any, idem: str) -> str:
        """Start a run.

        Args:
            spec: See docs/wire.md.
            idem: Key of the request; a known one gives the run that it started.

        Returns:
            The run's id.

        Raises:
            AgentError: E_ARG: the spec is wrong. E_NOTFOUND: it names a file that is not in the store.
                E_BUSY: a run is going on. E_RUNNER: no process could be started.
        """
        check_spec(spec)
        for run in self._names():
            if self._status(run).get("idem") == idem:
                return run
        self._check_objects(spec)
        self.poll()
        lock = lease.take_run_lock(self._root)
        try:
            self._forget_oldest()
            run = self._new_folder()
            self._write(run, "spec.json", spec)
            status = {"run": run, "idem": idem, "boot_id": identity.boot_id(), "started_utc": _now_utc()}
            self._write(run, "status.json", dict(status, state="running"))
            self._unfinished.append(run)
            self._children[run] = self._spawn(run, spec, lock)
        finally:
            os.close(lock)
        return run

    def status(self, run: str) -> Dict[str, Any]:
        """Return what is known of a run: id, state, number of events, when it began.

        Args:
            run: Its id.

        Returns:
            `run`, `state` ("running" or an end state), `events`, `started_utc`.

        Raises:
            AgentError: E_NOTFOUND: there is no such run.
        """
        self.poll()
        status = self._known(run)
        known = {"run": run, "state": status["state"], "started_utc": status["started_utc"]}
        return dict(known, events=self._index(run).count)

    def events(self, run: str, start: int = 0) -> List[Dict[str, Any]]:
        """Return a run's events from number `start` on, at most about 1 MiB of them.

        Args:
            run: Its id.
            start: Number of the first one wanted.

        Returns:
            The events; none if there is none yet.

        Raises:
            AgentError: E_NOTFOUND: there is no such run.
        """
        self._known(run)
        return self._index(run).read(start)

    def active(self) -> Optional[str]:
        """Return the id of the run that goes on, whichever agent of this root started it; None if none does."""
        self.poll()
        if not lease.run_is_active(self._root):
            return None
        running = [run for run in self._names() if self._status(run).get("state") == "running"]
        return running[-1] if running else None

    def cancel(self, run: str) -> Dict[str, Any]:
        """Ask a run to stop; `poll` kills it if it has not ended 3 s later.

        Args:
            run: Its id.

        Returns:
            `state`: "cancelling", or the end state if it is over.

        Raises:
            AgentError: E_NOTFOUND: there is no such run.
        """
        self._known(run)
        if self.active() != run:
            return {"state": self.status(run)["state"]}
        if run not in self._unfinished:
            self._unfinished.append(run)
        if run not in self._kill_at:
            self._kill_at[run] = time.monotonic() + GRACE_S
            self._signal(run, signal.SIGTERM)
        return {"state": "cancelling"}

    def output(self, run: str) -> str:
        """Return the path of a run's outputs.

        Args:
            run: Its id.

        Returns:
            A safetensors file.

        Raises:
            AgentError: E_NOTFOUND: there is no such run, or it has no outputs.
        """
        self._known(run)
        path = self._path(run, "output.safetensors")
        if not os.path.isfile(path):
            raise AgentError("E_NOTFOUND", "Run {} has no outputs.".format(run))
        return path

    def poll(self) -> None:
        """Look after the runs: end those that died without a word, kill those that do not stop."""
        ended = [run for run in self._unfinished if not self._goes_on(run) and self._finish(run)]
        for run in ended:
            self._unfinished.remove(run)
            self._children.pop(run, None)
            self._kill_at.pop(run, None)
        for run, deadline in self._kill_at.items():
            if time.monotonic() >= deadline:
                self._signal(run, signal.SIGKILL)

    def _goes_on(self, run: str) -> bool:
        if run in self._children:
            alive = self._children[run].poll() is None
        else:
            alive = self._status(run).get("boot_id") == identity.boot_id() and lease.run_is_active(self._root)
        if alive:
            _cut_stderr(self._path(run, "stderr.txt"))
        return alive

    def _finish(self, run: str) -> bool:
        # Write the end that a dead worker did not write; False if that cannot be done now.
        try:
            writer = EventWriter(self._path(run, "events.log"), run)
            state = _end_state(self._index(run))
            if state is None:
                state, error = self._cause(run)
                writer.put("end", state=state, peak_memory_bytes=None, error=error)
            writer.close()
            self._write(run, "status.json", dict(self._status(run), state=state))
        except (SpoolBusy, OSError):  # another agent is at it, or the disk is full: the next poll tries again
            return False
        return True

    def _cause(self, run: str) -> Any:
        if self._status(run).get("boot_id") != identity.boot_id():
            return "interrupted", {"type": "Interrupted", "message": "the board was restarted during the run"}
        if run in self._kill_at:
            return "cancelled", None
        code = self._children[run].returncode if run in self._children else None
        if code is None:
            how = "the worker ended without a result while the agent was not there"
        elif code < 0:
            how = "the worker was killed by {}".format(_SIGNAL_NAMES.get(-code, "signal {}".format(-code)))
            how += ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
        else:
            how = "the worker ended with status {}".format(code)
        tail = _tail(self._path(run, "stderr.txt"))
        return "failed", {"type": "Crash", "message": how + ("; its last words: " + tail if tail else "")}

    def _spawn(self, run: str, spec: Dict[str, Any], lock: int) -> "subprocess.Popen[bytes]":
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment.update({name: str(spec["threads"]) for name in _THREADS})
        folder = os.path.join(self._folder, run)
        with open(os.path.join(folder, "stderr.txt"), "ab") as stderr:
            try:
                return subprocess.Popen(
                    identity.worker_command(identity.worker_python(self._root)) + [folder],
                    cwd=folder, env=environment, pass_fds=(lock,), start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                )  # fmt: skip
            except OSError as error:
                raise AgentError("E_RUNNER", "No worker process could be started: {}.".format(error)) from error

    def _signal(self, run: str, number: int) -> None:
        """Signal the worker's process group: it is its own, and while the lock is held its id is not used anew."""
        child = self._children.get(run)
        text = str(child.pid) if child else _tail(self._path(run, "pid"))
        if text.isdigit():
            try:
                os.killpg(int(text), number)
            except ProcessLookupError:
                pass

    def _check_objects(self, spec: Dict[str, Any]) -> None:
        for key in ("sha", "inputs"):
            sha = spec.get(key)
            if sha and not os.path.isfile(os.path.join(self._root, "objects", sha[:2], sha)):
                raise AgentError("E_NOTFOUND", "The store has no file {} ({}).".format(sha, key))

    def _new_folder(self) -> str:
        # Make a folder whose name sorts behind all others, even if the clock was set back.
        newest = (self._names() or [""])[-1]
        now = max(int(time.time() * 1000), _read(newest) + 1)
        run = _spell(now, 10) + _spell(int.from_bytes(os.urandom(10), "big"), 16)
        os.mkdir(os.path.join(self._folder, run), 0o700)
        return run

    def _forget_oldest(self) -> None:
        old = self._names()[: -KEPT_RUNS + 1]
        for run in old:
            if run not in self._unfinished:
                shutil.rmtree(os.path.join(self._folder, run), ignore_errors=True)
                self._indices.pop(run, None)

    def _names(self) -> List[str]:
        return sorted(name for name in os.listdir(self._folder) if NAMES["run"].fullmatch(name))

    def _path(self, run: str, name: str) -> str:
        return os.path.join(self._folder, run, name)

    def _index(self, run: str) -> EventIndex:
        if run not in self._indices:
            self._indices[run] = EventIndex(self._path(run, "events.log"))
        self._indices[run].refresh()
        return self._indices[run]

    def _known(self, run: str) -> Dict[str, Any]:
        check_name("run", run)
        status = self._status(run)
        if not status:
            raise AgentError("E_NOTFOUND", "There is no run {}.".format(run))
        return status

    def _status(self, run: str) -> Dict[str, Any]:
        try:
            with open(self._path(run, "status.json"), encoding="utf-8") as file:
                return dict(json.load(file))
        except (OSError, ValueError, TypeError):
            return {}

    def _write(self, run: str, name: str, data: Dict[str, Any]) -> None:
        folder = os.open(os.path.join(self._folder, run), os.O_RDONLY | os.O_DIRECTORY)
        try:
            write_whole(folder, name, json.dumps(data).encode("ascii"))
        finally:
            os.close(folder)


def _end_state(index: EventIndex) -> Optional[str]:
    last = index.last()
    return str(last[0]["state"]) if last and last[0]["kind"] == "end" else None


def _now_utc() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spell(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def _read(run: str) -> int:
    number = 0
    for letter in run[:10]:
        number = number * len(_DIGITS) + max(_DIGITS.find(letter), 0)
    return number


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _STDERR_TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _cut_stderr(path: str) -> None:
    """Empty a file of last words that grew too large; the worker appends, so it goes on from the new end."""
    try:
        if os.stat(path).st_size > _STDERR_LIMIT_BYTES:
            os.truncate(path, 0)
    except FileNotFoundError:
        pass

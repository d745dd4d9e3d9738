"""A real sshd on loopback with keys and configuration of its own, and a relay that can be cut, frozen and counted."""

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeprune.devices.ssh_config import CONFIG_VARIABLE


def sshd_program():
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if not found:
        missing = "no sshd here: apt-get install openssh-server openssh-client"
        assert "CI" not in os.environ, missing  # .ci/run installs it, so that CI never leaves these out
        pytest.skip(missing)
    return found


def make_key(path, kind="ed25519", passphrase=""):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)], check=True)
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid):
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid):
    return [one for child in children(pid) for one in (child, *descendants(child))]


def command_line(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return ""


def wait_until(condition, seconds):
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


class SshServer:
    """An sshd whose users land in `home`. Keys: `folder`/host_ed25519, `folder`/user_ed25519."""

    def __init__(self, folder, *, python=True, settings=()):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.home, self.port = folder, folder / "home", free_port()
        self.home.mkdir(exist_ok=True)
        for name in ("host_ed25519", "user_ed25519"):
            if not (folder / name).exists():
                make_key(folder / name)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin" if python else str(self.home / "bin")
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host_ed25519", "PidFile none",
            f"AuthorizedKeysFile {folder}/user_ed25519.pub", "StrictModes no", "UsePAM no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes", "LogLevel VERBOSE",
            f"SetEnv HOME={self.home} PATH={path}", "MaxStartups 100", *settings,
        ]  # fmt: skip
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def known_hosts_line(self):
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host_ed25519.pub').read_text()}"

    def start(self):
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "sshd.log").open("ab") as log:
            command = [sshd_program(), "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        assert wait_until(self.answers, 10), (self.folder / "sshd.log").read_text()

    def answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def servers(self):
        """Processes of sshd that serve a connection."""
        return [pid for pid in descendants(self.process.pid) if command_line(pid).startswith("sshd")]

    def agents(self):
        return [pid for pid in descendants(self.process.pid) if ".pyz --root" in command_line(pid)]

    def signal_servers(self, number):
        for pid in self.servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self):
        if self.process is None:
            return
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Relay:
    """A cable of one's own to a port of this machine.

    `cut(sent=N)` or `cut(received=N)` resets the newest connection so many bytes later.
    """

    def __init__(self, port):
        self.target = port
        self.sent, self.received = [], []
        self._cuts = []
        self.frozen = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs = []
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        peers = {}
        while not self._over:
            ready, _, _ = select.select([self._listener, *peers], [], [], 0.02)
            for sock in ready:
                if sock is self._listener:
                    near = sock.accept()[0]
                    far = socket.create_connection(("127.0.0.1", self.target))
                    peers[near], peers[far] = (far, self.sent, len(self.sent)), (near, self.received, len(self.sent))
                    self.sent.append(0)
                    self.received.append(0)
                    self._pairs.append((near, far))
                elif self.frozen.is_set():
                    time.sleep(0.02)
                elif sock in peers and not self._pass_on(sock, *peers[sock]):
                    other = peers.pop(sock)[0]
                    peers.pop(other, None)
                    sock.close()
                    other.close()

    def _pass_on(self, sock, other, counts, number):
        limits = [limit for wanted, which, limit in self._cuts if wanted is counts and which == number]
        try:
            data = sock.recv(65536)
            if limits and counts[number] + len(data) >= limits[0]:
                other.sendall(data[: limits[0] - counts[number]])
                self._reset(number)
                return False
            counts[number] += len(data)
            other.sendall(data)
        except OSError:
            return False
        return bool(data)

    def cut(self, *, sent=None, received=None):
        number = len(self.sent) - 1
        counts, more = (self.sent, sent) if sent is not None else (self.received, received)
        self._cuts = [(counts, number, counts[number] + more)]

    def _reset(self, number):
        for sock in self._pairs[number]:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self):
        self._over = True
        self._thread.join()
        for sock in [self._listener, *(sock for pair in self._pairs for sock in pair)]:
            sock.close()


def write_config(folder, servers, known=True, lines=(), identity=None):
    """Write an ssh configuration that knows `servers`, and return its path."""
    (folder / "known_hosts").write_text("".join(s.known_hosts_line for s in servers) if known else "")
    identity = identity or servers[0].folder / "user_ed25519"
    text = [
        *lines, "Host *", f"IdentityFile {identity}", f"UserKnownHostsFile {folder}/known_hosts",
        "GlobalKnownHostsFile none",
    ]  # fmt: skip
    (folder / "ssh_config").write_text("\n".join(text) + "\n")
    return folder / "ssh_config"


@pytest.fixture
def user_settings(tmp_path, monkeypatch):
    """A user of nobody's: no ssh-agent, settings of the test's own."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "ssh_config"))
    return tmp_path


@pytest.fixture
def ssh_server(user_settings):
    """A server that the user's configuration knows."""
    server = SshServer(user_settings / "sshd")
    server.start()
    write_config(user_settings, [server])
    yield server
    server.stop()


@pytest.fixture
def relay(ssh_server, user_settings):
    made = Relay(ssh_server.port)
    known = user_settings / "known_hosts"
    known.write_text(known.read_text() + known.read_text().replace(str(ssh_server.port), str(made.port)))
    yield made
    made.close()

"""How fast a file reaches a board over ssh://, against scp and SFTPClient.put, which neither verify nor make durable.

A real sshd on loopback, with its own keys and configuration; a relay in a process of its own adds the round trip. All
ways take turns, so that a busy machine slows all of them alike. Times are from the command to the end of the process or
session: login, start of the agent, transfer, SHA-256 and fsync on the board.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import multiprocessing
import os
import queue
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko

from edgeprune.devices import connect
from edgeprune.devices.ssh import SshTransport
from edgeprune.devices.ssh_config import CONFIG_VARIABLE

TARGETS = {
    "scp": {0: 0.9, 20: 1.0, 100: 1.0},
    "SFTPClient.put": {0: 1.3, 20: 1.3, 100: 1.3},
}
"""By anchor: how many times its speed ssh:// is to reach at each round trip in ms."""
RESENT_BYTES = 8 << 20


class Bench:
    """An sshd, a file, and a client's settings, all below one folder."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.home = folder, folder / "board"
        self.home.mkdir()
        self.file = folder / "payload"
        self.file.write_bytes(os.urandom(size))
        self.sha = hashlib.sha256(self.file.read_bytes()).hexdigest()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        self.port = _free_port()
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
            "UsePAM no\n"
            f"AuthorizedKeysFile {folder}/user.pub\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
            f"SetEnv HOME={self.home} PATH={Path(sys.executable).parent}:/usr/bin:/bin\nMaxStartups 100\n"
        )
        (folder / "known_hosts").write_text(f"bench {(folder / 'host.pub').read_text()}")
        (folder / "ssh_config").write_text(
            f"Host *\n  HostKeyAlias bench\n  UserKnownHostsFile {folder}/known_hosts\n  IdentityFile {folder}/user\n"
            "  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
        )
        os.environ[CONFIG_VARIABLE] = str(folder / "ssh_config")
        os.environ.pop("SSH_AUTH_SOCK", None)

    @contextlib.contextmanager
    def server(self) -> Iterator[None]:
        """Run the sshd."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            sys.exit("There is no sshd: apt-get install openssh-server openssh-client")
        command = [program, "-D", "-e", "-f", self.folder / "sshd_config"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while not _answers(self.port):
                time.sleep(0.02)
            yield
        finally:
            self.process.terminate()
            self.process.wait()

    def scp(self, port: int) -> None:
        """Copy by scp."""
        target = f"127.0.0.1:{self.home}/by-scp"
        command = ["scp", "-q", "-F", self.folder / "ssh_config", "-P", str(port), self.file, target]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def put(self, port: int) -> None:
        """Copy by paramiko's SFTP."""
        with paramiko.SSHClient() as client:
            kind, blob, *_ = (self.folder / "host.pub").read_text().split()
            key = paramiko.Ed25519Key(data=base64.b64decode(blob))
            client.get_host_keys().add(f"[127.0.0.1]:{port}", kind, key)
            client.connect(
                "127.0.0.1", port, key_filename=str(self.folder / "user"), allow_agent=False, look_for_keys=False
            )
            client.open_sftp().put(str(self.file), f"{self.home}/by-put")

    def push(self, port: int, scheme: str) -> None:
        """Push to an agent."""
        with connect(f"{scheme}://127.0.0.1:{port}") as board:
            board.push(self.file, self.sha)

    def forget(self) -> None:
        """Remove what was copied; the agent itself stays, as on every board after the first time."""
        for path in (self.home / "by-scp", self.home / "by-put", self._object()):
            path.unlink(missing_ok=True)

    def check(self) -> None:
        """Compare every copy with the file."""
        for path in (self.home / "by-scp", self.home / "by-put", self._object()):
            if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() != self.sha:
                sys.exit(f"{path} is not the file that was sent")

    def _object(self) -> Path:
        return self.home / ".edgeprune" / "objects" / self.sha[:2] / self.sha


class CountedTransport(SshTransport):
    """Counts what is sent to the agent."""

    sent = 0

    def send(self, data: bytes, deadline: object) -> None:
        """Send and count."""
        super().send(data, deadline)  # type: ignore[arg-type]
        CountedTransport.sent += len(data)


def resend_report(bench: Bench) -> tuple[int, int]:
    """Return bytes sent beyond the file when sshd is killed in the middle, and bytes sent by a second push."""
    from edgeprune.devices import session

    session.make_transport, original = CountedTransport, session.make_transport  # type: ignore[assignment]
    killed: list[int] = []

    def kill(event: object) -> None:
        if event.done > bench.file.stat().st_size // 2 and not killed:  # type: ignore[attr-defined]
            killed.append(1)
            for pid in _children(bench.process.pid):
                os.kill(pid, signal.SIGKILL)

    try:
        bench.forget()
        with connect(f"ssh://127.0.0.1:{bench.port}", listener=kill) as board:
            CountedTransport.sent = 0
            board.push(bench.file, bench.sha)
            resent = CountedTransport.sent - bench.file.stat().st_size
            CountedTransport.sent = 0
            board.push(bench.file, bench.sha)
            return resent, CountedTransport.sent
    finally:
        session.make_transport = original


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def delayed(port: int, round_trip_ms: int) -> Iterator[int]:
    """Yield a port that leads to another with a round trip, or that port itself without one."""
    if not round_trip_ms:
        yield port
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = multiprocessing.Process(target=_relay, args=(listener, port, round_trip_ms / 2000), daemon=True)
        relay.start()
        try:
            yield listener.getsockname()[1]
        finally:
            relay.kill()
            relay.join()


def _relay(listener: socket.socket, port: int, delay_s: float) -> None:
    while True:
        near = listener.accept()[0]
        far = socket.create_connection(("127.0.0.1", port))
        for source, sink in ((near, far), (far, near)):
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            threading.Thread(target=_hear, args=(source, line, delay_s), daemon=True).start()
            threading.Thread(target=_say, args=(sink, line), daemon=True).start()


def _hear(source: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]], delay_s: float) -> None:
    data = b"x"
    while data:
        try:
            data = source.recv(1 << 18)
        except OSError:
            data = b""
        line.put((time.monotonic() + delay_s, data))


def _say(sink: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, data = line.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def measure(bench: Bench, round_trip_ms: int, runs: int) -> dict[str, list[float]]:
    """Time every way, taking turns.

    Args:
        bench: Server and file.
        round_trip_ms: Of the relay between.
        runs: Of each way.

    Returns:
        Seconds of each run, by way.
    """
    times: dict[str, list[float]] = {}
    with delayed(bench.port, round_trip_ms) as port:
        ways: dict[str, Callable[[], None]] = {
            "scp": lambda: bench.scp(port),
            "ssh://": lambda: bench.push(port, "ssh"),
            "SFTPClient.put": lambda: bench.put(port),
            "ssh+exec://": lambda: bench.push(port, "ssh+exec"),
        }
        for _ in range(runs):
            for name, way in ways.items():
                bench.forget()
                started = time.monotonic()
                way()
                times.setdefault(name, []).append(time.monotonic() - started)
                bench.check()
    return times


def report(round_trip_ms: int, times: dict[str, list[float]], size: int) -> bool:
    """Print a table.

    Args:
        round_trip_ms: Of the relay.
        times: From `measure`.
        size: Of the file.

    Returns:
        Whether the targets are met.
    """
    middle = {name: statistics.median(series) for name, series in times.items()}
    met = True
    print(f"\nround trip {round_trip_ms} ms, {size / 1e6:.0f} MB, median of {len(times['scp'])}")
    for name, series in times.items():
        ratio = middle["scp"] / middle[name]
        span = f"{min(series):.2f}–{max(series):.2f} s"
        print(
            f"  {name:<15} {middle[name]:6.2f} s  {span:>14}  {size / middle[name] / 1e6:6.1f} MB/s  {ratio:5.2f} x scp"
        )
    for anchor, targets in TARGETS.items():
        ratio, target = middle[anchor] / middle["ssh://"], targets.get(round_trip_ms)
        if target is not None:
            met &= ratio >= target
            print(f"  ssh:// is {ratio:.2f} x {anchor}; target {target}: {'met' if ratio >= target else 'MISSED'}")
    return met


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--round-trips-ms", type=int, nargs="*", default=[0, 20, 100])
    parser.add_argument("--folder", default="/dev/shm" if Path("/dev/shm").is_dir() else None, help="for both ends")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="edgeprune-bench-") as folder:
        bench = Bench(Path(folder), options.megabytes * 1_000_000)
        with bench.server():
            bench.push(bench.port, "ssh")  # the agent is there from now on
            print(f"both ends in {options.folder}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
            results = [
                report(ms, measure(bench, ms, options.runs), options.megabytes * 1_000_000)
                for ms in options.round_trips_ms
            ]
            resent, second = resend_report(bench)
            print(
                f"\nsent again after sshd was killed half-way: {resent / 2**20:.2f} MiB, at most {RESENT_BYTES >> 20}"
            )
            print(f"a second push of the same file sends {second} bytes in all, none of the file")
    print(
        "all targets met" if all(results) and resent <= RESENT_BYTES and second < 4096 else "some targets were missed"
    )


if __name__ == "__main__":
    main()

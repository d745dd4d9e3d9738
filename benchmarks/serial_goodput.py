"""Serial lines: how much of one carries the file, and how soon an agent is there, next to ZMODEM on the same line.

The line is a pair of pseudo terminals and a relay that carries baud/10 bytes a second (tests/devices/serial_relay.py),
so it has neither the latency of a USB adapter nor a real UART's overruns. Goodput is file bytes / (time x baud/10),
from the first request to the durable, verified file; ZMODEM's ends when its file is complete. "bytes" is the file's
share of the bytes that the line carried, which no busy machine can change. Random bytes: packing gains nothing here.
`--rows TEXT` runs the rows that hold TEXT, `--repeat N` each one N times.
"""

import argparse
import contextlib
import hashlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "devices"))

from serial_board import SerialBoard

from edgeprune.devices import serial_console
from edgeprune.devices.address import parse_address
from edgeprune.devices.client import AgentClient
from edgeprune.devices.serial_link import SerialTransport

ROWS = (
    # name, baud, bytes, cable, goal
    ("115200 clean", 115200, 160_000, {}, 0.975),
    ("115200, 1e-5 flips", 115200, 440_000, {"flips": 1e-5}, 0.965),
    ("115200, 1e-5 drops", 115200, 440_000, {"drops": 1e-5}, 0.965),
    ("115200, 1e-4 flips", 115200, 160_000, {"flips": 1e-4}, 0.90),
    ("115200, 1e-3 flips", 115200, 96_000, {"flips": 1e-3}, 0.60),
    ("115200, kernel messages every 2 s", 115200, 160_000, {"message_s": 2.0}, 0.95),
    ("921600, 1e-5 flips", 921600, 1_300_000, {"flips": 1e-5}, 0.95),
    ("921600, 1e-5 bursts of 8 dropped", 921600, 1_300_000, {"drops": 1e-5, "burst": 8}, 0.95),
    ("3000000, 1e-5 flips", 3_000_000, 3_500_000, {"flips": 1e-5}, 0.92),
)
BOOTSTRAPS = (
    ("typed in at 115200, clean", {}, 115200, 3.0),
    ("typed in at 115200, then up to 921600", {}, 921600, 3.0),
    ("typed in at 115200, 1e-4 and messages", {"flips": 1e-4, "message_s": 0.4}, 115200, 5.0),
)


@contextlib.contextmanager
def plugged(baud: int, command: Sequence[str] = ("bash", "--norc", "-i"), **cable: float) -> Iterator[SerialBoard]:
    """Yield a board behind a cable that carries baud/10 bytes a second; a tenth of what both ends set for rate=0."""
    with tempfile.TemporaryDirectory() as home:
        board = SerialBoard(home, command, baud=baud, **{"rate": baud // 10, **cable})
        try:
            yield board
        finally:
            board.close()


@contextlib.contextmanager
def connected(board: SerialBoard, fastest: int = 0) -> Iterator[AgentClient]:
    """Yield a client of its agent, over a line that may become so fast."""
    address = board.address(fastest=fastest or board.baud)
    client = AgentClient(SerialTransport(parse_address(address)), "board")
    client.open()
    try:
        yield client
    finally:
        client.close()


def lease(client: AgentClient) -> int:
    """Return the epoch of a lease."""
    return client.request("lease.acquire", {"holder": "benchmark", "steal": True})["epoch"]


def push(client: AgentClient, data: bytes, epoch: int) -> None:
    """Send a file, and have it verified and made durable."""
    client.upload(io.BytesIO(data), hashlib.sha256(data).hexdigest(), len(data), epoch, lambda done: None)


def our_goodput(baud: int, size: int, cable: Mapping[str, float], seed: int) -> tuple[float, float]:
    """Return the share of the line's time that carries a file of ours, and the share of the bytes that it carried."""
    data = os.urandom(size)
    with plugged(baud, seed=seed) as board, connected(board) as client:
        epoch = lease(client)
        client.request("release.list", {"model": None})  # the second part of the agent is no part of the file
        board.order(**cable)
        carried = board.stats()[0]["carried"]
        started = time.monotonic()
        push(client, data, epoch)
        took = time.monotonic() - started
        return size / took / (baud / 10), size / (board.stats()[0]["carried"] - carried)


def zmodem_goodput(baud: int, size: int, cable: Mapping[str, float], seed: int) -> float:
    """Return the same of `sz -w 2048`, the best that ZMODEM has against noise; 0.0 when the file never comes."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "file")
        source.write_bytes(os.urandom(size))
        with plugged(baud, ("sh", "-c", "cd; stty raw -echo; exec rz -b -q -y"), seed=seed) as board:
            board.order(**cable)
            time.sleep(0.3)
            started = time.monotonic()
            with Path(board.port).open("r+b", buffering=0) as line:
                subprocess.run(["stty", "raw", "-echo", str(baud)], stdin=line, check=True)
                sz = subprocess.Popen(
                    ["sz", "-b", "-q", "-w", "2048", str(source)], stdin=line, stdout=line, stderr=subprocess.DEVNULL
                )
                took = wait_for(board.home / "file", source.read_bytes(), started, 5 * size / (baud / 10) + 10)
                sz.kill()
                sz.wait()
    return size / took / (baud / 10) if took else 0.0


def wait_for(path: Path, content: bytes, started: float, limit_s: float) -> float | None:
    """Return the seconds until a file is complete; None when it is not in time."""
    while time.monotonic() - started < limit_s:
        if path.exists() and path.stat().st_size >= len(content) and path.read_bytes() == content:
            return time.monotonic() - started
        time.sleep(0.01)
    return None


def bootstrap_s(cable: Mapping[str, float], seed: int, fastest: int) -> tuple[float, float, float]:
    """Return the seconds from a shell to an agent that answers, to one that is whole, and to the same a second time."""
    with plugged(115200, seed=seed, rate=0, **cable) as board:
        while not board.stats()[1]["carried"]:  # a shell that is still starting is not yet a shell
            time.sleep(0.05)
        started = time.monotonic()
        with connected(board, fastest) as client:
            first = time.monotonic() - started
            client.request("release.list", {"model": None})  # nothing but the whole agent answers it
            whole = time.monotonic() - started
        started = time.monotonic()
        with connected(board, fastest):
            return first, whole, time.monotonic() - started


def urgent_s(seed: int) -> float:
    """Return how long a request takes at most that is asked in the middle of an upload; a cancel acts before that."""
    waits = []
    with plugged(115200, seed=seed) as board, connected(board) as client:
        upload = threading.Thread(target=push, args=(client, os.urandom(60_000), lease(client)))
        upload.start()
        time.sleep(1.0)
        while upload.is_alive():
            started = time.monotonic()
            client.request("lease.who")
            waits.append(time.monotonic() - started)
            time.sleep(0.3)
        upload.join()
    return max(waits[:-1])


def verdict(value: float, goal: float, lower_is_better: bool = False) -> str:
    """Return whether a goal is met."""
    return "met" if (value <= goal if lower_is_better else value >= goal) else "MISSED"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--no-anchor", action="store_true")
    options = parser.parse_args()
    seeds = range(1, options.repeat + 1)
    anchored = bool(shutil.which("sz") and shutil.which("rz")) and not options.no_anchor
    print(f"{'line':38} {'goal':>6} {'ours':>6} {'':7} {'range':>13} {'bytes':>6} {'sz -w 2048':>10}")
    for name, baud, size, cable, goal in ROWS:
        if options.rows not in name:
            continue
        ours, bytes_ = zip(*(our_goodput(baud, size, cable, seed) for seed in seeds), strict=True)
        middle = statistics.median(ours)
        anchor = [zmodem_goodput(baud, size, cable, seed) for seed in seeds] if anchored else []
        theirs = "-" if not anchor else f"{statistics.median(anchor):.1%}" if any(anchor) else "failed"
        spread = f"{min(ours):.1%}-{max(ours):.1%}"
        share = f"{statistics.median(bytes_):6.1%}"
        print(
            f"{name:38} {goal:6.1%} {middle:6.1%} {verdict(middle, goal):7} {spread:>13} {share} {theirs:>10}",
            flush=True,
        )
    if options.rows:
        return
    print(
        f"\n{serial_console.agent_bytes()} bytes are typed; whole: with the second part; again: with both there already"
    )
    for name, cable, fastest, goal in BOOTSTRAPS:
        times = [bootstrap_s(cable, seed, fastest) for seed in seeds]
        first, whole, again = (statistics.median(series) for series in zip(*times, strict=True))
        met = verdict(first, goal, True)
        print(f"{name:38} {goal:4.1f} s {first:4.1f} s {met:7} whole {whole:.1f} s, again {again:.1f} s", flush=True)
    wait = statistics.median([urgent_s(seed) for seed in seeds])
    print(f"{'urgent request during an upload':38} {0.5:4.1f} s {wait:4.2f} s {verdict(wait, 0.5, True)}", flush=True)


if __name__ == "__main__":
    main()

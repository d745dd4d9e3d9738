"""serial:// with a true shell behind a cable: what the session promises, and the console as it was afterwards."""

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from serial_board import SerialBoard

from edgeprune.devices import connect, serial_port
from edgeprune.devices.agent_file import cached_agent
from edgeprune.errors import DeviceBusy

QUICK = {"baud": 1_500_000}


@pytest.fixture
def make_board(tmp_path):
    with contextlib.ExitStack() as boards:

        def make(*args, **options):
            board = SerialBoard(tmp_path, *args, **options)
            boards.callback(board.close)
            return board

        yield make


@pytest.fixture
def board(make_board):
    return make_board(**QUICK)


def stored(board):
    return {path.name for path in (board.root / "objects").glob("*/*")}


def wait_until(condition, seconds=5.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def has_shell(board):
    return board.stats()[1]["shell"]


def test_a_model_is_pushed_and_run_and_its_events_come_whole(board, model_bytes, plan):
    events = []
    with connect(board.address()) as session:
        sha = session.push_bytes(model_bytes)
        end = session.run({**plan, "sha": sha}, events.append, 60.0)
    assert end["state"] == "done"
    assert [event["ev"] for event in events] == list(range(len(events)))
    assert sum(len(event["ns"]) for event in events if event["kind"] == "samples") >= plan["min_runs"]


def test_how_long_a_push_takes_is_told_before_it_begins_and_by_the_speed_that_was_found(make_board):
    board, events = make_board(baud=115_200), []
    data = os.urandom(70_000)
    with connect(board.address(), listener=events.append) as session:
        session.push_bytes(data)
        session.push_bytes(data)
        session.push_bytes(bytes(500_000))
    told = [event.message for event in events if event.message]
    assert told == [f"{hashlib.sha256(data).hexdigest()[:8]}: 68.4 KiB over 115200 baud: about 6 s"]
    assert events[0].message == told[0]


def test_the_agent_keeps_its_files_in_the_root_of_the_address_however_it_is_spelled(board, tmp_path):
    root = tmp_path / "a 'disk' $(touch owned); `reboot` \\ !! ü"
    with connect(board.address(root=quote(str(root)))) as session:
        sha = session.push_bytes(b"x")
    assert (root / "objects" / sha[:2] / sha).is_file()
    assert list((root / "agent").glob("*.pyz"))
    assert not board.root.exists()
    assert not list(tmp_path.rglob("owned"))


def test_a_root_below_the_home_is_the_boards_home(board):
    with connect(board.address(root="~/elsewhere")):
        assert (board.home / "elsewhere" / "agent").is_dir()


def test_the_console_is_given_back(board):
    with connect(board.address()):
        assert not has_shell(board)
    wait_until(lambda: has_shell(board))


def test_the_console_is_given_back_at_its_own_speed(make_board):
    board = make_board(baud=230_400)
    with connect(board.address(fastest=921_600)) as session:
        wait_until(lambda: board.stats()[1]["speed"] == 921_600)
        session.push_bytes(os.urandom(50_000))
    wait_until(lambda: board.stats()[1]["speed"] == 230_400)
    wait_until(lambda: has_shell(board))


def test_a_speed_that_the_cable_does_not_carry_is_given_up(make_board):
    board = make_board(baud=460_800, limit=1_000_000)
    data = os.urandom(20_000)
    with connect(board.address(fastest=3_000_000)) as session:
        sha = session.push_bytes(data)
        assert board.stats()[1]["speed"] == 921_600
    assert stored(board) == {sha}


def test_two_at_one_port_are_refused(board):
    with connect(board.address()), pytest.raises(DeviceBusy, match="in use by another process"):
        connect(board.address())
    connect(board.address()).close()


def test_an_agent_that_is_there_is_not_typed_again(board):
    with connect(board.address()) as session:
        assert session.info  # by then the agent's second part is there, too
        first = board.stats()[0]["carried"]
    with connect(board.address()):
        assert board.stats()[0]["carried"] - first < 4000


def test_an_agent_on_a_line_of_its_own_is_found_without_typing(make_board):
    agent = f"exec {sys.executable} {cached_agent()} --tty $(tty)"
    board = make_board(("sh", "-c", agent), **QUICK)
    for _ in range(2):
        with connect(board.address()) as session:
            assert session.request("lease.who")["run"] is None
    assert board.stats()[0]["carried"] < 6000


def test_an_agent_on_a_line_of_its_own_ends_when_that_is_gone(tmp_path):
    master, slave = os.openpty()
    options = ["--root", str(tmp_path / "root"), "--tty", os.ttyname(slave)]
    with subprocess.Popen([sys.executable, cached_agent(), *options], stdin=subprocess.DEVNULL) as agent:
        assert os.read(master, 100).startswith(b"EPL/1")
        os.close(slave)
        os.close(master)
        assert agent.wait(10) == 0


@pytest.mark.slow
def test_an_adapter_that_is_plugged_in_again_is_found_under_its_other_name(board, tmp_path, monkeypatch):
    folder = tmp_path / "by-id"
    folder.mkdir()
    (folder / "adapter").symlink_to(board.port)
    monkeypatch.setattr(serial_port, "BY_ID", folder)
    monkeypatch.setattr(serial_port, "_ids", {})
    data = os.urandom(300_000)

    def replug():
        wait_until(lambda: board.stats()[0]["carried"] > 150_000)
        board.pull()
        time.sleep(0.7)
        (folder / "adapter").unlink()
        board.plug()
        (folder / "adapter").symlink_to(board.port)

    hand = threading.Thread(target=replug)
    hand.start()
    with connect(board.address()) as session:
        sha = session.push_bytes(data)
    hand.join()
    assert stored(board) == {sha}
    assert board.stats()[0]["carried"] < 300_000 * 1.02 + 48_000 + 64 * 1024


@pytest.mark.slow
def test_a_cable_pulled_at_any_byte_loses_nothing_and_little_is_sent_again(board, tmp_path, monkeypatch):
    folder = tmp_path / "by-id"
    folder.mkdir()
    (folder / "adapter").symlink_to(board.port)
    monkeypatch.setattr(serial_port, "BY_ID", folder)
    monkeypatch.setattr(serial_port, "_ids", {})
    data = [os.urandom(40_000) for _ in range(12)]
    with connect(board.address()) as session:
        session.request("release.list", model=None)  # the agent is whole: what crosses the line now are files
        for number, content in enumerate(data):
            before = board.stats()[0]["carried"]
            board.order(pull_after=before + 1 + number * 3700)
            hand = threading.Thread(target=plug_again, args=(board, folder))
            hand.start()
            session.push_bytes(content)
            hand.join()
            assert board.stats()[0]["carried"] - before < 40_000 * 1.03 + 64 * 1024
    assert stored(board) == {hashlib.sha256(content).hexdigest() for content in data}


def plug_again(board, folder):
    wait_until(lambda: board.stats()[0]["speed"] == 0)
    (folder / "adapter").unlink()
    board.plug()
    (folder / "adapter").symlink_to(board.port)


def agent_process(board):
    group = board.stats()[1]["foreground"]
    return int(Path(f"/proc/{group}/task/{group}/children").read_text().split()[0])


@pytest.mark.slow
def test_an_agent_that_is_killed_is_replaced_and_the_shell_hears_nothing_of_it(make_board):
    board = make_board(baud=230_400)
    data = os.urandom(150_000)

    def kill():
        wait_until(lambda: board.stats()[0]["carried"] > 80_000)
        os.kill(agent_process(board), signal.SIGKILL)

    hand = threading.Thread(target=kill)
    hand.start()
    with connect(board.address(fastest=460_800)) as session:
        sha = session.push_bytes(data)
    hand.join()
    assert stored(board) == {sha}
    assert {path.name for path in board.home.iterdir()} == {".edgeprune"}
    assert board.stats()[0]["carried"] < 150_000 * 1.02 + 48_000 + 64 * 1024


HOST = """
import os, sys, time
from edgeprune.devices import connect
session = connect(sys.argv[1])
print("connected", flush=True)
time.sleep(60)
"""


@pytest.fixture
def host_process(board):
    process = subprocess.Popen([sys.executable, "-c", HOST, board.address()], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "connected\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_host_that_was_killed_is_followed_by_the_next(board, host_process):
    host_process.kill()
    host_process.wait()
    with connect(board.address()) as session:
        assert session.push_bytes(b"x" * 1000) in stored(board)


def test_a_port_that_another_process_has_is_refused(board, host_process):
    with pytest.raises(DeviceBusy, match="in use by another process"):
        connect(board.address())


@pytest.mark.slow
def test_the_agent_of_a_host_that_was_killed_gives_the_console_back(board, host_process):
    host_process.kill()
    wait_until(lambda: has_shell(board), 20.0)


@pytest.mark.slow
def test_a_cable_that_falls_silent_is_noticed_by_both_ends(board):
    with connect(board.address()) as session:
        board.order(silent=True)
        started = time.monotonic()
        client = session.client
        with contextlib.suppress(Exception):
            client.request("lease.who")
        assert time.monotonic() - started < 17.0
        wait_until(lambda: has_shell(board), 5.0)
        board.order(silent=False)


@pytest.mark.slow
def test_an_urgent_request_overtakes_a_push(make_board):
    board = make_board(baud=115_200)
    with connect(board.address()) as session:
        client, epoch, data = session.client, session._lease(), os.urandom(40_000)
        sha = hashlib.sha256(data).hexdigest()
        upload = threading.Thread(target=client.upload, args=(io.BytesIO(data), sha, len(data), epoch, lambda n: None))
        upload.start()
        time.sleep(0.5)
        waits = []
        for _ in range(5):
            started = time.monotonic()
            client.request("lease.who")
            waits.append(time.monotonic() - started)
        assert upload.is_alive()
        upload.join()
    assert sorted(waits)[2] < 0.5

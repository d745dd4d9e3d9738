"""Through a true shell or login to an agent, in spite of noise; what cannot be is said so."""

import contextlib
import hashlib
import importlib.util
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serial_board import SerialBoard

from edgeprune.devices import connect, serial_console, serial_link
from edgeprune.devices.agent_file import pack_slim_agent
from edgeprune.errors import ConnectFailed

QUICK = 1_500_000
STAGE = importlib.util.find_spec("edgeprune_agent.stage0").origin
LOGIN = Path(__file__).with_name("serial_login.py")


@pytest.fixture
def make_board(tmp_path):
    with contextlib.ExitStack() as boards:

        def make(*command, **options):
            board = SerialBoard(tmp_path, *([command] if command else []), **{"baud": QUICK, **options})
            boards.callback(board.close)
            return board

        yield make


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setattr(serial_link, "_passwords", {})
    monkeypatch.setattr("edgeprune.devices.client.CONNECT_S", 12.0)


def answers(board, **options):
    with connect(board.address(**options)) as session:
        return session.request("lease.who")["run"] is None


@pytest.mark.parametrize("shell", [("bash", "--norc", "-i"), ("bash", "-l"), ("dash", "-i"), ("sh",)])
def test_a_shell_of_any_kind_becomes_the_agent(make_board, shell):
    assert answers(make_board(*shell))


@pytest.mark.parametrize("seed", range(3))
def test_noise_and_kernel_messages_are_lived_with(make_board, seed):
    assert answers(make_board(flips=1e-4, message_s=0.1, seed=seed))


@pytest.mark.slow
def test_heavy_noise_is_lived_with(make_board, monkeypatch):
    monkeypatch.setattr("edgeprune.devices.client.CONNECT_S", 30.0)
    assert answers(make_board(flips=5e-4, message_s=0.2, seed=1))


@pytest.mark.parametrize("delay_s", [1.7, 2.2, 2.7, 3.2])
def test_a_first_stage_that_starts_when_nobody_waits_for_it_any_more_is_given_the_agent(make_board, tmp_path, delay_s):
    slow = tmp_path / "bin" / "python3"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\ntrap '' INT\nsleep {delay_s}\nexec {sys.executable} \"$@\"\n")
    slow.chmod(0o700)
    assert answers(make_board("env", f"PATH={slow.parent}:/usr/bin:/bin", "bash", "--norc", "-i"))


@pytest.mark.slow
def test_a_first_stage_gives_up_when_no_block_comes_though_somebody_types(tmp_path):
    master, slave = pty.openpty()
    stage = subprocess.Popen([sys.executable, STAGE, "0" * 64, "3", "3", tmp_path], stdin=slave, stdout=slave)
    try:
        until = time.monotonic() + 20
        while stage.poll() is None and time.monotonic() < until:
            os.write(master, b"\x15\r")
            time.sleep(0.3)
        assert stage.poll() == 0
    finally:
        stage.kill()
        stage.wait()
        os.close(master)
        os.close(slave)


def test_the_last_blocks_receipt_may_be_lost(make_board):
    last = len(serial_console._blocks(False, False)) - 1
    board = make_board(swallow=f"~{last}:{last * 31 % 997}~")
    assert answers(board)
    assert board.stats()[1]["errors"] == 1


def test_what_somebody_left_half_typed_is_not_run(make_board, tmp_path):
    board = make_board()
    with Path(board.port).open("wb", buffering=0) as line:
        line.write(b" touch left-over; echo '")
        time.sleep(0.2)
        assert answers(board)
    assert not (tmp_path / "left-over").exists()


def test_the_agent_is_kept_and_checked_before_it_is_used_again(make_board):
    board = make_board()
    assert answers(board)
    kept = board.root / "agent" / f"{hashlib.sha256(pack_slim_agent()).hexdigest()}.pyz"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + b"?")
    assert answers(board)
    assert kept.read_bytes() == whole


def test_a_python_of_the_agents_own_is_preferred(make_board):
    board = make_board()
    own = board.root / "venv" / "bin" / "python3"
    own.parent.mkdir(parents=True)
    board.root.chmod(0o700)
    own.write_text(f'#!/bin/sh\ntouch {board.home}/own-python\nexec {sys.executable} "$@"\n')
    own.chmod(0o700)
    assert answers(board)
    assert (board.home / "own-python").exists()


def test_of_older_agents_a_few_are_kept(make_board):
    board = make_board()
    folder = board.root / "agent"
    folder.mkdir(parents=True)
    for name in range(9):
        (folder / f"{name:064}.pyz").write_text("old")
    for place in (board.root, folder):
        place.chmod(0o700)
    assert answers(board)
    assert len(list(folder.iterdir())) <= 6  # the second part comes when the old ones have gone


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_an_agent_that_others_could_exchange_is_not_run(make_board, mode):
    board = make_board()
    (board.root / "agent").mkdir(parents=True)
    board.root.chmod(0o700)
    (board.root / "agent").chmod(mode)
    with pytest.raises(ConnectFailed, match="belongs to others"):
        answers(board)


def test_a_user_is_logged_in_and_asked_for_the_password_once(make_board, monkeypatch):
    board = make_board(sys.executable, str(LOGIN), "pi", "raspberry")
    asked = []
    monkeypatch.setattr(serial_link.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(serial_link.getpass, "getpass", lambda prompt: asked.append(prompt) or "raspberry")
    assert answers(board, login="pi")
    assert answers(board, login="pi")
    assert asked == ["Password of pi on the console: "]


@pytest.mark.slow
def test_a_user_without_a_password_is_logged_in(make_board):
    assert answers(make_board(sys.executable, str(LOGIN), "root", ""), login="root")


def test_a_wrong_password_is_given_once(make_board, monkeypatch):
    board = make_board(sys.executable, str(LOGIN), "pi", "raspberry")
    monkeypatch.setattr(serial_link.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(serial_link.getpass, "getpass", lambda prompt: "wrong")
    with pytest.raises(ConnectFailed, match="refused the login of pi"):
        answers(board, login="pi")


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 0.7, 3.0])
@pytest.mark.parametrize("given", ["raspberry", "wrong"])
def test_one_password_is_tried_however_long_the_login_takes_to_answer(
    make_board, monkeypatch, tmp_path, delay_s, given
):
    tried = tmp_path / "tried"
    board = make_board(sys.executable, str(LOGIN), "pi", "raspberry", str(delay_s), str(tried))
    monkeypatch.setattr(serial_link.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(serial_link.getpass, "getpass", lambda prompt: given)
    if given == "raspberry":
        assert answers(board, login="pi")
    else:
        with pytest.raises(ConnectFailed, match="refused the login of pi"):
            answers(board, login="pi")
    attempts = tried.read_text().splitlines()
    assert [attempt for attempt in attempts if attempt.startswith("pi:")] == [f"pi:{given}"], attempts
    others = [attempt for attempt in attempts if not attempt.startswith("pi:")]
    assert all(attempt.endswith(":") for attempt in others)  # a line taken for a name is left with an empty one


def test_a_login_without_a_name_is_said_so(make_board):
    with pytest.raises(ConnectFailed, match="asks who logs in") as caught:
        answers(make_board(sys.executable, str(LOGIN), "pi", "raspberry"))
    assert "login=" in caught.value.next_step


def test_nobody_is_asked_where_nobody_is(make_board):
    board = make_board(sys.executable, str(LOGIN), "pi", "raspberry")
    with pytest.raises(ConnectFailed, match="password"):
        answers(board, login="pi")


def test_a_board_without_python_is_said_so(make_board, tmp_path):
    (tmp_path / "rc").write_text("python3() { echo 'bash: python3: command not found'; return 127; }\n")
    with pytest.raises(ConnectFailed, match="python3: command not found"):
        answers(make_board("bash", "--rcfile", str(tmp_path / "rc"), "-i"))


def test_a_folder_that_is_refused_is_the_reason_given(make_board, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".edgeprune").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConnectFailed, match="symbolic link"):
        answers(make_board())


@pytest.fixture
def short_patience(monkeypatch):
    """Nobody will log in, however long one waits."""
    monkeypatch.setattr(serial_link, "_LOG_IN_S", 0.0)
    monkeypatch.setattr("edgeprune.devices.client.CONNECT_S", 2.0)


@pytest.mark.usefixtures("short_patience")
def test_a_line_on_which_nobody_answers_is_said_so(make_board):
    with pytest.raises(ConnectFailed, match="neither an agent nor a shell"):
        answers(make_board("sleep", "60"))


@pytest.mark.usefixtures("short_patience")
def test_what_chatters_without_a_shell_is_quoted_without_control_characters(make_board):
    with pytest.raises(ConnectFailed, match="hello there") as caught:
        answers(make_board("sh", "-c", "trap '' INT; while sleep 0.1; do printf '\\033[31mhello there\\007\\n'; done"))
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("port", "words"), [("/dev/no-such-port", "There is no serial port"), ("/dev/null", "cannot be opened")]
)
def test_what_is_no_port_is_said_so(port, words):
    with pytest.raises(ConnectFailed, match=words):
        connect(f"serial://{port}")

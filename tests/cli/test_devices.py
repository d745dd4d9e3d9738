"""`edgeprune devices` as a script uses it, and as a person at a terminal does."""

import json
import logging
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "devices"))
from ssh_server import ssh_server, user_settings  # noqa: F401
from wheel_maker import make_wheel

# ruff: noqa: F811
ADDRESS = "local://?root={}"


@pytest.fixture
def board(user_settings, tmp_path, edgeprune):
    edgeprune("add", "desk", ADDRESS.format(tmp_path / "board"), "--tag", "bench=lab-1", cwd=tmp_path)
    return tmp_path


def command(*arguments):
    return [sys.executable, "-m", "edgeprune", "devices", *map(str, arguments)]


@pytest.fixture
def edgeprune(monkeypatch, capfd):
    """Run a command in this process and return its JSON document."""
    from edgeprune.cli.app import app

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)

    def run(*arguments, cwd, code=0):
        monkeypatch.chdir(cwd)
        capfd.readouterr()
        found = app(["devices", *map(str, arguments), "--json"], standalone_mode=False)
        shown = capfd.readouterr()
        assert code is None or (found or 0) == code, shown
        return json.loads(shown.out)

    return run


def test_a_board_is_added_listed_asked_and_removed(board, edgeprune):
    listed = {device["name"]: device for device in edgeprune("list", cwd=board)["devices"]}
    assert listed["desk"]["tags"] == {"bench": "lab-1"}
    assert edgeprune("info", "lab-1", cwd=board)["info"]["cpu_count"] >= 1
    assert edgeprune("remove", "desk", cwd=board) == {"removed": "desk"}
    assert "desk" not in [device["name"] for device in edgeprune("list", cwd=board)["devices"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "desk", "local://"], "already"),
        (["add", "x", "shh://x"], "unknown scheme"),
        (["add", "x", "local://", "--profile", "raspbery-pi-5"], "raspbery-pi-5"),
        (["remove", "dsk"], "dsk"),
        (["trust", "desk"], "no host key"),
        (["who", "dsk"], "dsk"),
    ],
)
def test_bad_input_is_exit_2_and_names_what_is_wrong(board, arguments, words, edgeprune):
    assert words in edgeprune(*arguments, cwd=board, code=2)["error"]["message"]


def test_check_names_the_profile_and_the_command_for_what_is_missing(board):
    done = subprocess.run(command("check", "desk", "--json"), cwd=board, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    check, runtimes = found["check"], found["info"]["runtimes"]
    missing = [runtime["name"] for runtime in runtimes if runtime["version"] is None]
    assert [lack["runtime"] for lack in check["lacks"]] == missing
    assert check["board"].startswith("generic-linux")
    assert done.returncode == bool(missing)
    assert all("pip install" in lack["command"] for lack in check["lacks"])


def test_prepare_installs_wheels_and_says_what_the_board_has_then(board, edgeprune, tmp_path):
    wheel = make_wheel(tmp_path)
    done = edgeprune("prepare", "desk", "--wheels", tmp_path, cwd=board, code=None)
    assert done["wheels"] == [wheel.name]
    assert done["wheel_bytes"] == wheel.stat().st_size
    assert [runtime["name"] for runtime in done["info"]["runtimes"]] == ["onnxruntime", "litert"]
    shown = subprocess.run(command("prepare", "desk", "--wheels", tmp_path), cwd=board, capture_output=True, text=True)
    assert "desk: 1 wheels installed" in shown.stdout
    assert "unpacking" in shown.stderr
    found = subprocess.run(command("check", "desk"), cwd=board, capture_output=True, text=True)
    assert found.returncode == shown.returncode == bool(done["check"]["lacks"])


def test_prepare_of_wheels_for_another_board_is_exit_2_and_says_for_which(board, edgeprune, tmp_path):
    make_wheel(tmp_path, tags="cp36-cp36m-manylinux2014_armv7l")
    error = edgeprune("prepare", "desk", "--wheels", tmp_path, cwd=board, code=2)["error"]
    assert "cp36m" in error["message"]
    assert "CPython" in error["next_step"]


def test_a_lock_keeps_others_out_until_ctrl_c_and_who_names_its_holder(board, edgeprune):
    holder = subprocess.Popen(command("lock", "desk"), cwd=board, stderr=subprocess.PIPE, text=True)
    try:
        assert "yours until Ctrl-C" in holder.stderr.readline()
        who = edgeprune("who", "desk", cwd=board)
        assert f"process {holder.pid}" in who["name"]
        assert who["run"] is None
        busy = subprocess.run(command("lock", "desk", "--for", "1s"), cwd=board, capture_output=True, text=True)
        assert busy.returncode == 3
        assert f"process {holder.pid}" in busy.stderr
        holder.send_signal(signal.SIGINT)
        assert holder.wait(10) == 0
    finally:
        holder.kill()
        holder.communicate()
    assert edgeprune("who", "desk", cwd=board)["name"] is None


def test_unlock_frees_a_board_and_its_holder_is_told(board, edgeprune):
    holder = subprocess.Popen(command("lock", "desk"), cwd=board, stderr=subprocess.PIPE, text=True)
    try:
        holder.stderr.readline()
        assert f"process {holder.pid}" in edgeprune("unlock", "desk", cwd=board)["was"]["name"]
        assert holder.wait(10) == 3
        assert "error:" in holder.stderr.read()
    finally:
        holder.kill()
        holder.communicate()
    assert edgeprune("who", "desk", cwd=board)["name"] is None
    assert edgeprune("unlock", "desk", cwd=board)["was"]["name"] is None


def test_a_lock_for_a_time_ends_by_itself(board, edgeprune):
    started = time.monotonic()
    done = subprocess.run(command("lock", "desk", "--for", "300ms"), cwd=board, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 15
    assert edgeprune("who", "desk", cwd=board)["name"] is None


def at_terminal(arguments, cwd, answer):
    """Run a command at a pseudo-terminal, answer its question, and return what it showed and its exit code."""
    near, far = pty.openpty()
    process = subprocess.Popen(command(*arguments), cwd=cwd, stdin=far, stdout=far, stderr=far, close_fds=True)
    os.close(far)
    shown = b""
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        if select.select([near], [], [], 0.1)[0]:
            try:
                shown += os.read(near, 4096)
            except OSError:
                break
            if b"[y/N]" in shown and answer:
                os.write(near, answer)
                answer = b""
    code = process.wait(30)
    os.close(near)
    return shown.decode(), code


def test_trust_asks_at_the_terminal_and_stores_only_after_a_yes(ssh_server, user_settings, edgeprune):
    (user_settings / "known_hosts").write_text("")
    address = f"ssh://{ssh_server.address}"
    shown, code = at_terminal(["trust", address], user_settings, b"n\n")
    (fingerprint,) = set(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", shown))
    assert code == 2
    assert not (user_settings / "settings" / "edgeprune" / "known_hosts").exists()
    edgeprune("info", address, cwd=user_settings, code=3)
    shown, code = at_terminal(["trust", address], user_settings, b"y\n")
    assert (code, fingerprint in shown) == (0, True)
    assert edgeprune("info", address, cwd=user_settings)["info"]["cpu_count"] >= 1


def test_trust_in_a_script_needs_the_fingerprint(ssh_server, user_settings, edgeprune):
    (user_settings / "known_hosts").write_text("")
    edgeprune("add", "board", f"ssh://{ssh_server.address}", cwd=user_settings)
    error = edgeprune("trust", "board", cwd=user_settings, code=2)["error"]
    assert "--fingerprint" in error["next_step"]
    wrong = edgeprune("trust", "board", "--fingerprint", "SHA256:" + "A" * 43, cwd=user_settings, code=2)["error"]
    (shown,) = set(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", wrong["message"])) - {"SHA256:" + "A" * 43}
    done = edgeprune("trust", "board", "--fingerprint", shown, cwd=user_settings)
    assert done["fingerprint"] == shown
    assert edgeprune("info", "board", cwd=user_settings)["info"]["cpu_count"] >= 1


def test_what_a_board_says_reaches_the_terminal_without_its_control_characters(ssh_server, user_settings):
    (ssh_server.home / ".bashrc").write_text("printf '\\033]0;owned\\007\\033[2Jgo away\\n' >&2; exit 7\n")
    shown, code = at_terminal(["info", f"ssh://{ssh_server.address}"], user_settings, b"")
    assert code == 3
    assert "go away" in shown
    assert "\x1b]0;" not in shown and "\x1b[2J" not in shown and "\x07" not in shown

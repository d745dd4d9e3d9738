"""A board as the user sees it: QEMU's command line, its place in the device list, its process."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgeprune.board import boards, keys, listing, machine, qemu
from edgeprune.board.boards import Board
from edgeprune.board.building.image import Image
from edgeprune.board.machine import Parts
from edgeprune.devices import resolve
from edgeprune.devices.address import parse_address
from edgeprune.devices.device_list import add_device, make_profile
from edgeprune.devices.ssh_known_hosts import entry_name, known_keys, own_file
from edgeprune.errors import ConnectFailed, UsageError
from edgeprune.values.json import from_data, to_data


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def board(tmp_path):
    made = Board("virtual", "counted", "0" * 16, 40022, console="/dev/pts/7")
    made.folder.mkdir(parents=True)
    for name in ("login_key", "ssh_host_ed25519_key"):
        (made.folder / f"{name}.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA comment\n")
    return made


def command(mode):
    return machine.start_command(mode, Image(Path("/cache/abc")), Parts(Path("/state/x,y")), 40022)


@pytest.mark.parametrize("mode", machine.MODES)
def test_every_port_is_on_loopback_and_the_board_reaches_nothing(mode):
    words = command(mode)
    forwards = [word for word in words if "hostfwd" in word]
    assert forwards == ["user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:40022-:22"]
    assert not any("0.0.0.0" in word or "server=on" in word for word in words)


def test_commas_in_paths_are_no_options():
    assert any("file=/state/x,,y/disk.qcow2" in word for word in command("realtime"))


def test_only_the_counted_mode_counts_instructions_and_says_so_in_its_model():
    assert "-icount" in command("counted")
    assert "-icount" not in command("realtime")
    assert machine.model("counted") == "EdgePrune virtual arm64 board, counting instructions"


def test_a_board_is_a_device_with_a_trusted_host_key(board):
    device = listing.enlist(board, serial=False)
    assert resolve("virtual") == device
    address = parse_address(device.address)
    assert (address.host, address.port, address.identity) == ("127.0.0.1", 40022, str(keys.login_key(board.folder)))
    trusted = known_keys(entry_name("127.0.0.1", 40022), [own_file()]).trusted
    assert list(trusted) == [keys.host_key(board.folder)]


def test_enlisting_again_replaces_the_entry_and_striking_leaves_nothing(board):
    listing.enlist(board, serial=False)
    assert listing.enlist(board, serial=True).address == "serial:///dev/pts/7?login=board"
    listing.strike(board)
    listing.strike(board)
    assert not known_keys(entry_name("127.0.0.1", 40022), [own_file()]).trusted
    listing.check_name("virtual")


def test_a_device_of_the_users_own_is_never_replaced(board):
    add_device(make_profile("virtual", "ssh://pi@board", "", "none", []))
    with pytest.raises(UsageError, match="'virtual' is the device ssh://pi@board"):
        listing.check_name("virtual")
    with pytest.raises(UsageError, match="already"):
        listing.enlist(board, serial=False)
    listing.strike(board)
    assert resolve("virtual").address == "ssh://pi@board"


def test_a_board_comes_back_from_its_file(board):
    assert from_data(Board, to_data(board)) == board


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "a/b", "a" * 64])
def test_a_bad_name_is_refused_before_anything_is_made(name):
    with pytest.raises(UsageError, match="cannot be the name"):
        boards.start(name)


def test_another_process_that_got_the_number_is_not_the_board(tmp_path):
    assert not qemu.runs(os.getpid(), tmp_path / "disk.qcow2")
    assert not qemu.runs(2**22 + 1, tmp_path / "disk.qcow2")


def test_a_port_that_is_given_back_in_a_moment_is_waited_for():
    with socket.socket() as holder:
        port = qemu.free_port()
        holder.bind(("127.0.0.1", port))
        holder.listen()
        assert not qemu.comes_free(port, 0.0)
        later = threading.Timer(0.2, holder.close)
        later.start()
        assert qemu.comes_free(port, 10.0)
        later.join()


def test_a_process_is_found_by_its_disk_and_ended(tmp_path):
    disk = tmp_path / "disk.qcow2"
    lives = "import time; print('runs', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", lives, f"file={disk}"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # only now are its words certainly in /proc: Popen can return within the exec
        assert qemu.runs(process.pid, disk)
        qemu.end(process.pid, disk, hard=True)
        assert not qemu.runs(process.pid, disk)


def test_qemu_that_fails_is_quoted(tmp_path):
    with pytest.raises(ConnectFailed, match="no such machine"):
        qemu.start(["sh", "-c", "echo no such machine >&2; exit 1"], Parts(tmp_path))

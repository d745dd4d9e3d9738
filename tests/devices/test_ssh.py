"""ssh:// and ssh+exec:// against a real sshd: starting the agent, through noise, and what the board says instead."""

import ast
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import paramiko
import pytest
from ssh_server import (  # noqa: F401  (fixtures)
    SshServer,
    command_line,
    relay,
    ssh_server,
    user_settings,
    wait_until,
    write_config,
)

from edgeprune.devices import connect, reconnection, ssh_exec, ssh_starter
from edgeprune.devices.address import SshAddress
from edgeprune.devices.agent_file import cached_agent
from edgeprune.devices.ssh import SshTransport
from edgeprune.devices.ssh_start import start_command
from edgeprune.devices.transport import Deadline, make_transport
from edgeprune.errors import ConnectFailed, DeviceTimeout, EdgePruneError, LinkClosed, RemoteError

# ruff: noqa: F811
SCHEMES = ["ssh", "ssh+exec"]


@pytest.fixture(params=SCHEMES)
def scheme(request):
    return request.param


@pytest.fixture
def board_root(ssh_server):
    return ssh_server.home / ".edgeprune"


def open_read_only(address):
    with connect(address, exclusive=False) as opened:
        return opened.request("lease.who"), opened.client.hello


def test_the_agent_is_sent_once_and_kept_by_its_hash(ssh_server, relay, board_root):
    address = f"ssh://127.0.0.1:{relay.port}"
    for _ in range(2):
        _, hello = open_read_only(address)
        assert hello["sha256"] == cached_agent().stem
    first, second = relay.sent
    assert first > cached_agent().stat().st_size > second
    assert second < 20_000
    assert [path.name for path in (board_root / "agent").iterdir()] == [cached_agent().name]
    assert board_root.stat().st_mode & 0o777 == (board_root / "agent").stat().st_mode & 0o777 == 0o700
    assert (board_root / "agent" / cached_agent().name).stat().st_mode & 0o777 == 0o600


def test_an_agent_that_was_changed_on_the_board_is_not_run(ssh_server, scheme, board_root):
    (board_root / "agent").mkdir(mode=0o700, parents=True)
    board_root.chmod(0o700)
    kept = board_root / "agent" / cached_agent().name
    kept.write_bytes(b"import os; os.mkdir('/tmp/evil')")
    _, hello = open_read_only(f"{scheme}://{ssh_server.address}")
    assert hello["sha256"] == cached_agent().stem
    assert kept.read_bytes() == cached_agent().read_bytes()


def test_old_agents_are_forgotten(ssh_server, board_root):
    (board_root / "agent").mkdir(mode=0o700, parents=True)
    board_root.chmod(0o700)
    for age in range(9):
        old = board_root / "agent" / f"{age}.pyz"
        old.write_bytes(b"")
        os.utime(old, (1000 - age, 1000 - age))
    open_read_only(f"ssh://{ssh_server.address}")
    kept = {path.name for path in (board_root / "agent").iterdir()}
    assert kept == {"0.pyz", "1.pyz", "2.pyz", "3.pyz", cached_agent().name}


@pytest.mark.parametrize("where", [".", "agent"])
def test_a_folder_that_others_could_change_is_refused(ssh_server, board_root, where):
    (board_root / where).mkdir(parents=True)
    board_root.chmod(0o700)
    (board_root / where).chmod(0o770)
    with pytest.raises(ConnectFailed, match="others may write in it"):
        open_read_only(f"ssh://{ssh_server.address}")


def test_a_root_that_is_a_link_is_refused(ssh_server, board_root, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    board_root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConnectFailed, match="symbolic link"):
        open_read_only(f"ssh://{ssh_server.address}")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_a_shell_prints_at_login_is_no_obstacle(ssh_server, scheme):
    (ssh_server.home / ".bashrc").write_text("echo 'Welcome to the board'; printf '\\033[2J\\x00EPL/'\n")
    who, _ = open_read_only(f"{scheme}://{ssh_server.address}")
    assert who["holder"] is None


def test_a_board_without_python_is_said_so_with_its_noise_and_without_its_control_characters(user_settings, scheme):
    server = SshServer(user_settings / "sshd", python=False)
    (server.home / "bin").mkdir()
    fake = server.home / "bin" / "python3"
    fake.write_text(
        "#!/bin/sh\nprintf '\\033[31mNo Python\\007 for you'\nprintf '\\033]0;owned\\007sorry\\n' >&2\nexit 3\n"
    )
    fake.chmod(0o755)
    (server.home / "bin" / "sh").symlink_to("/bin/sh")
    server.start()
    write_config(user_settings, [server])
    try:
        with pytest.raises(ConnectFailed, match=r"sorry.*No Python") as caught:
            open_read_only(f"{scheme}://{server.address}")
    finally:
        server.stop()
    assert all(letter.isprintable() for letter in str(caught.value))
    assert "docs/devices/ssh.md" in caught.value.next_step


def test_endless_noise_is_not_waited_for(user_settings):
    server = SshServer(user_settings / "sshd", python=False)
    (server.home / "bin").mkdir()
    (server.home / "bin" / "sh").symlink_to("/bin/sh")
    fake = server.home / "bin" / "python3"
    fake.write_text(
        "#!/bin/sh\nwhile :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done\n"
    )
    fake.chmod(0o755)
    server.start()
    write_config(user_settings, [server])
    try:
        with pytest.raises(ConnectFailed, match=r"There is no agent.*yyyy"):
            open_read_only(f"ssh://{server.address}")
    finally:
        server.stop()


class RunsNothing(paramiko.ServerInterface):
    """A server that lets everybody in and refuses every command."""

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        return False


def test_a_board_that_runs_no_commands_is_said_so_at_once(user_settings):
    server = SshServer(user_settings / "sshd")  # its keys and its port are all we need of it
    write_config(user_settings, [server])

    def serve():
        with paramiko.Transport(listener.accept()[0]) as transport:
            transport.add_server_key(paramiko.PKey.from_path(server.folder / "host_ed25519"))
            transport.start_server(server=RunsNothing())
            transport.join(20)

    with socket.create_server(("127.0.0.1", server.port)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        with pytest.raises(ConnectFailed, match="runs no commands for this login"):
            open_read_only(f"ssh://{server.address}")
        assert time.monotonic() - started < 10
        thread.join()


def test_the_command_holds_nothing_that_a_shell_could_read_whatever_the_root():
    said = [("", b""), ("it's $HOME; `a` \\ root\n!", b"'; reboot; '")]
    commands = [start_command(SshAddress("board", root=root), greeting) for root, greeting in said]
    found = [re.fullmatch(r"exec sh -c '([^']*)' '([^']*)' '([A-Za-z0-9+/=]*)'", command) for command in commands]
    assert all(found)
    assert found[0].group(1, 2) == found[1].group(1, 2)
    assert not set(found[0][2]) & set("$`\\!&|<>*?~#\n")
    assert len(commands[0]) < 4096


def test_the_starter_is_python_3_6_and_needs_nothing_but_the_standard_library():
    tree = ast.parse(Path(ssh_starter.__file__).read_text("utf-8"), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_shells_leave_the_command_as_it_is(shell, tmp_path):
    command = start_command(SshAddress("board", root=str(tmp_path / "root")), b"hello")
    said = bytes(cached_agent().stat().st_size)
    done = subprocess.run([shell, "-c", command], input=said, capture_output=True)
    assert done.stdout == b"EPL/0 agent?\n" == ssh_starter.WANTED
    assert b"changed on its way" in done.stderr
    assert list((tmp_path / "root" / "agent").iterdir()) == []


def test_a_venv_in_the_root_runs_the_agent(ssh_server, board_root):
    python = board_root / "venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    board_root.chmod(0o700)
    python.write_text('#!/bin/sh\ntouch "$HOME/venv-was-used"\nexec /usr/bin/env python3 "$@"\n')
    python.chmod(0o755)
    open_read_only(f"ssh://{ssh_server.address}")
    assert (ssh_server.home / "venv-was-used").exists()


def test_root_and_quota_of_the_address_are_the_agents(ssh_server, scheme, tmp_path):
    root = tmp_path / "it's $HOME; a root"
    with connect(str(SshAddress("127.0.0.1", "", ssh_server.port, str(root), 1 << 20, scheme=scheme))) as board:
        with pytest.raises(RemoteError, match="E_QUOTA"):
            board.push_bytes(bytes(2 << 20))
        assert board.push_bytes(b"small")
    assert (root / "objects").is_dir()


def test_what_the_agent_says_on_standard_error_is_kept_apart_and_bounded(ssh_server):
    (ssh_server.home / ".bashrc").write_text("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2 last words\n")
    transport = make_transport(SshAddress("127.0.0.1", port=ssh_server.port))
    try:
        transport.open(Deadline(15))
        assert transport.receive(Deadline(5)).endswith(b"EPL/1\n\0\0")
        assert bytes(transport._last_words).endswith(b"last words\n")
        assert len(transport._last_words) <= 64 * 1024
    finally:
        transport.close()


def test_gcm_is_agreed_where_the_board_has_it_and_ctr_where_not(user_settings):
    for settings, cipher in [((), "aes128-gcm@openssh.com"), (("Ciphers aes256-ctr,aes128-ctr",), "aes128-ctr")]:
        server = SshServer(user_settings / "sshd", settings=settings)
        server.start()
        write_config(user_settings, [server])
        transport = SshTransport(SshAddress("127.0.0.1", port=server.port))
        try:
            transport.open(Deadline(15))
            assert transport._link.transport.remote_cipher == cipher
            assert transport._link.socket._wrapped.getsockopt(6, 1)  # TCP_NODELAY
        finally:
            transport.close()
            server.stop()


def test_a_board_that_speaks_only_what_we_refuse_is_said_so(user_settings):
    server = SshServer(user_settings / "sshd", settings=("Ciphers chacha20-poly1305@openssh.com",))
    server.start()
    write_config(user_settings, [server])
    try:
        with pytest.raises(ConnectFailed, match="ciphers") as caught:
            open_read_only(f"ssh://{server.address}")
        assert f"ssh+exec://{server.address}" in caught.value.next_step
        open_read_only(f"ssh+exec://{server.address}")
    finally:
        server.stop()


def test_a_reset_is_told_at_once(ssh_server, relay, scheme):
    transport = make_transport(SshAddress("127.0.0.1", port=relay.port, scheme=scheme))
    transport.open(Deadline(15))
    transport.receive(Deadline(5))
    relay.cut(sent=1)
    started = time.monotonic()
    with pytest.raises(LinkClosed):
        while time.monotonic() < started + 10:
            transport.send(b"x", Deadline(1))
            transport.receive(Deadline(0.05))
    assert time.monotonic() - started < 3
    transport.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_killed_server_in_the_middle_of_a_push_costs_at_most_8_mib(ssh_server, relay, scheme, monkeypatch):
    monkeypatch.setattr(reconnection, "DELAYS_S", (0.0, 0.05, 0.1, 0.2, 0.4))
    data = os.urandom(24 << 20)
    killed = []

    def kill(event):
        if event.done > 10 << 20 and not killed:
            killed.append(event.done)
            ssh_server.signal_servers(signal.SIGKILL)

    with connect(f"{scheme}://127.0.0.1:{relay.port}", listener=kill) as board:
        sha = board.push_bytes(data)
        assert board.client.request("store.stat", {"sha": sha, "size": len(data)})["state"] == "complete"
        payload = sum(relay.sent)
        board.push_bytes(data)
        assert sum(relay.sent) - payload < 10_000
    assert killed
    overhead = cached_agent().stat().st_size + (1 << 20)
    assert sum(relay.sent) - len(data) < (8 << 20) + overhead


def test_a_board_that_takes_nothing_any_more_misses_the_deadline_of_send(ssh_server, scheme):
    transport = make_transport(SshAddress("127.0.0.1", port=ssh_server.port, scheme=scheme))
    transport.open(Deadline(15))
    transport.receive(Deadline(5))
    for pid in [*ssh_server.servers(), *ssh_server.agents()]:
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(DeviceTimeout):
        transport.send(bytes(64 << 20), Deadline(0.5))
    assert time.monotonic() - started < 2.0
    transport.close()
    assert time.monotonic() - started < 7.0


def test_the_systems_ssh_is_told_to_ask_nothing_and_to_trust_nothing(user_settings):
    (user_settings / "ssh_config").write_text("Host *\n  StrictHostKeyChecking no\n")
    words = ssh_exec.SshExecTransport(SshAddress("board", "pi", 22, scheme="ssh+exec")).command(b"")
    for wanted in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ServerAliveInterval=5", "ForwardAgent=no"):
        assert words[words.index(wanted) - 1] == "-o"
    assert words[-7:] == ["-l", "pi", "-p", "22", "--", "board", start_command(SshAddress("board"), b"")]


@pytest.mark.parametrize(("host", "user"), [("board;id", ""), ("board", "pi;id"), ("board", "-oProxyCommand=id")])
def test_names_that_a_shell_could_read_are_refused(user_settings, scheme, host, user):
    (user_settings / "ssh_config").write_text("")
    with pytest.raises(EdgePruneError, match="invalid"):
        make_transport(SshAddress(host, user, scheme=scheme)).open(Deadline(5))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_ends_notice_a_frozen_cable_within_16_seconds(ssh_server, relay, scheme):
    with pytest.raises(LinkClosed), connect(f"{scheme}://127.0.0.1:{relay.port}", exclusive=False) as board:
        assert wait_until(ssh_server.agents, 5)
        (agent,) = ssh_server.agents()
        relay.frozen.set()
        frozen_at = time.monotonic()
        try:
            while True:
                board.client.request("lease.who", deadline_s=30)
        finally:
            assert time.monotonic() - frozen_at < 16.5
            assert wait_until(lambda: not command_line(agent), 16.5 - (time.monotonic() - frozen_at))


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["sent", "received"])
def test_a_push_survives_a_cut_at_any_byte(ssh_server, relay, board_root, direction, monkeypatch):
    monkeypatch.setattr(reconnection, "DELAYS_S", (0.0, 0.05, 0.1, 0.2, 0.4))
    chance = random.Random(4)
    cuts = 0
    with connect(f"ssh://127.0.0.1:{relay.port}") as board:
        for _ in range(60):
            data = chance.randbytes(20_000)
            before = len(relay.sent)
            relay.cut(**{direction: chance.randrange(1, 23_000 if direction == "sent" else 200)})
            sha = board.push_bytes(data)
            assert (board_root / "objects" / sha[:2] / sha).read_bytes() == data
            cuts += len(relay.sent) > before
    assert cuts >= 30


@pytest.mark.slow
def test_more_than_600_mb_go_over_one_connection_and_its_new_keys(ssh_server, tmp_path, board_root):
    piece = os.urandom(1 << 20)
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(640):
            file.write(number.to_bytes(4, "big") + piece[4:])
    sha = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    with connect(f"ssh://{ssh_server.address}") as board:
        first = board.client
        board.push(path, sha)
        assert board.client is first, "the link was lost on the way"
    assert (board_root / "objects" / sha[:2] / sha).stat().st_size == path.stat().st_size

"""Who is let in, and who is believed: host keys, user keys, ssh-agent, passwords, jump hosts."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import paramiko
import pytest
from ssh_server import SshServer, free_port, make_key, ssh_server, user_settings, write_config  # noqa: F401

from edgeprune.devices import connect, ssh_auth
from edgeprune.devices.address import LocalAddress, SshAddress, parse_address
from edgeprune.devices.ssh import SshTransport
from edgeprune.devices.ssh_config import look_up
from edgeprune.devices.ssh_connect import Links
from edgeprune.devices.ssh_known_hosts import own_file
from edgeprune.devices.ssh_trust import trust
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed, UsageError

# ruff: noqa: F811


@pytest.fixture(params=["ssh", "ssh+exec"])
def scheme(request):
    return request.param


def reach(address):
    with connect(address, exclusive=False) as board:
        return board.client.request("lease.who")


def fingerprint(server):
    said = subprocess.run(
        ["ssh-keygen", "-lf", server.folder / "host_ed25519.pub"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[1]


def never(question):
    raise AssertionError(question)


def test_an_unknown_host_key_is_refused_with_the_command_that_trusts_it(ssh_server, user_settings, scheme):
    (user_settings / "known_hosts").write_text("")
    address = f"{scheme}://{ssh_server.address}"
    with pytest.raises(ConnectFailed) as caught:
        reach(address)
    assert f"edgeprune devices trust '{address}'" in caught.value.next_step
    assert not ssh_server.agents()
    assert "Accepted" not in (ssh_server.folder / "sshd.log").read_text()


def test_trust_shows_the_fingerprint_stores_the_key_and_opens_the_way_for_both_clients(ssh_server, user_settings):
    (user_settings / "known_hosts").write_text("")
    shown = []
    done = trust(parse_address(f"ssh://{ssh_server.address}"), None, lambda question: not shown.append(question))
    assert fingerprint(ssh_server) in shown[0]
    assert (done.fingerprint, done.new, done.replaced) == (fingerprint(ssh_server), True, ())
    assert own_file().stat().st_mode & 0o777 == 0o600
    assert (user_settings / "known_hosts").read_text() == ""
    for scheme in ("ssh", "ssh+exec"):
        assert reach(f"{scheme}://{ssh_server.address}")["holder"] is None


def test_trust_stores_nothing_for_a_no_or_for_another_fingerprint(ssh_server, user_settings):
    (user_settings / "known_hosts").write_text("")
    address = parse_address(f"ssh://{ssh_server.address}")
    with pytest.raises(UsageError, match="not trusted"):
        trust(address, None, lambda question: False)
    with pytest.raises(UsageError, match=re.escape(fingerprint(ssh_server))):
        trust(address, "SHA256:" + "A" * 43, never)
    assert not own_file().exists()
    assert trust(address, fingerprint(ssh_server), never).new
    assert not trust(address, None, never).new


def test_trust_of_what_has_no_key_is_refused():
    with pytest.raises(UsageError, match="no host key"):
        trust(LocalAddress(), None, never)


def test_a_changed_host_key_is_refused_and_both_keys_are_shown(ssh_server, user_settings, scheme):
    before = fingerprint(ssh_server)
    ssh_server.stop()
    for path in ssh_server.folder.glob("host_ed25519*"):
        path.unlink()
    make_key(ssh_server.folder / "host_ed25519")
    ssh_server.start()
    with pytest.raises(ConnectFailed) as caught:
        reach(f"{scheme}://{ssh_server.address}")
    if scheme == "ssh":
        assert before in caught.value.message
        assert fingerprint(ssh_server) in caught.value.message
        assert "ssh-keygen -R" in caught.value.next_step
    with pytest.raises(ConnectFailed, match="another key"):
        trust(parse_address(f"ssh://{ssh_server.address}"), None, never)


def test_a_changed_key_that_was_ours_is_replaced_by_trusting_again(ssh_server, user_settings):
    (user_settings / "known_hosts").write_text("")
    address = parse_address(f"ssh://{ssh_server.address}")
    old = trust(address, fingerprint(ssh_server), never)
    ssh_server.stop()
    for path in ssh_server.folder.glob("host_ed25519*"):
        path.unlink()
    make_key(ssh_server.folder / "host_ed25519")
    ssh_server.start()
    with pytest.raises(ConnectFailed, match="set up anew"):
        reach(str(address))
    asked = []
    done = trust(address, None, lambda question: not asked.append(question))
    assert done.replaced == (old.fingerprint,)
    assert old.fingerprint in asked[0]
    reach(str(address))


def test_a_known_key_of_another_kind_is_asked_for(user_settings):
    server = SshServer(user_settings / "sshd", settings=(f"HostKey {user_settings}/sshd/host_rsa",))
    make_key(server.folder / "host_rsa", "rsa")
    server.start()
    write_config(user_settings, [server])
    rsa = (server.folder / "host_rsa.pub").read_text()
    (user_settings / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {rsa}")
    try:
        assert reach(f"ssh://{server.address}")["holder"] is None
    finally:
        server.stop()


def test_a_revoked_key_is_refused_even_if_it_is_trusted_as_well(ssh_server, user_settings, scheme):
    known = user_settings / "known_hosts"
    known.write_text(known.read_text() + "@revoked * " + known.read_text().partition(" ")[2])
    with pytest.raises(ConnectFailed) as caught:
        reach(f"{scheme}://{ssh_server.address}")
    assert scheme == "ssh+exec" or "revoked" in caught.value.message
    with pytest.raises(ConnectFailed, match="revoked"):
        trust(parse_address(f"ssh://{ssh_server.address}"), None, never)


def test_a_host_vouched_for_by_certificates_is_left_to_the_systems_ssh(ssh_server, user_settings):
    known = user_settings / "known_hosts"
    known.write_text("@cert-authority " + known.read_text())
    with pytest.raises(ConnectFailed, match="certificate") as caught:
        reach(f"ssh://{ssh_server.address}")
    assert f"ssh+exec://{ssh_server.address}" in caught.value.next_step


def test_a_wrong_user_key_is_refused_and_named(ssh_server, user_settings, scheme):
    wrong = make_key(user_settings / "wrong")
    write_config(user_settings, [ssh_server], identity=wrong)
    with pytest.raises(ConnectFailed) as caught:
        reach(f"{scheme}://{ssh_server.address}")
    assert str(wrong) in caught.value.message if scheme == "ssh" else "Permission denied" in caught.value.message


def test_a_key_behind_a_passphrase_is_named_and_not_asked_for(ssh_server, user_settings):
    locked = make_key(user_settings / "locked", passphrase="secret")
    write_config(user_settings, [ssh_server], identity=locked)
    with pytest.raises(ConnectFailed, match="locked needs its passphrase"):
        reach(f"ssh://{ssh_server.address}")


def test_a_key_of_ssh_agent_opens_the_board(ssh_server, user_settings, monkeypatch, scheme):
    write_config(user_settings, [ssh_server], identity=user_settings / "absent")
    place = user_settings / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL)
    try:
        while not place.exists():
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        subprocess.run(["ssh-add", "-q", str(ssh_server.folder / "user_ed25519")], check=True)
        assert reach(f"{scheme}://{ssh_server.address}")["holder"] is None
    finally:
        agent.kill()
        agent.wait()


@pytest.fixture
def gate(ssh_server, user_settings):
    made = SshServer(user_settings / "gate", settings=("AllowTcpForwarding yes",))
    made.start()
    jump = [
        "Host board", f"HostName 127.0.0.1\nPort {ssh_server.port}", "ProxyJump gate", "Host gate",
        f"HostName 127.0.0.1\nPort {made.port}\nIdentityFile {made.folder}/user_ed25519",
    ]  # fmt: skip
    write_config(user_settings, [ssh_server, made], lines=jump)
    yield made
    made.stop()


def test_a_jump_host_leads_to_the_board(ssh_server, gate):
    with connect("ssh://board") as board:
        sha = board.push_bytes(os.urandom(3_000_000))
        assert board.client.request("store.stat", {"sha": sha, "size": 3_000_000})["state"] == "complete"
    assert (ssh_server.home / ".edgeprune").is_dir()
    assert not (gate.home / ".edgeprune").exists()
    assert "Accepted" in (gate.folder / "sshd.log").read_text()


def test_an_unknown_jump_host_is_named_and_can_be_trusted(ssh_server, gate, user_settings):
    (user_settings / "known_hosts").write_text("")
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{gate.port}") as caught:
        reach("ssh://board")
    assert "edgeprune devices trust 'ssh://gate'" in caught.value.next_step
    trust(parse_address("ssh://gate"), fingerprint(gate), never)
    trust(parse_address("ssh://board"), fingerprint(ssh_server), never)
    reach("ssh://board")


def test_jumps_in_a_circle_end(user_settings, ssh_server):
    write_config(user_settings, [ssh_server], lines=["Host a", "ProxyJump b", "Host b", "ProxyJump a"])
    with pytest.raises(ConnectFailed, match="too many jump hosts"):
        reach("ssh://a")


def test_a_jump_host_that_cannot_reach_the_board_is_said_so(gate, user_settings):
    config = (user_settings / "ssh_config").read_text()
    (user_settings / "ssh_config").write_text(re.sub("(Host board\n.*\nPort )[0-9]+", rf"\g<1>{free_port()}", config))
    with pytest.raises(ConnectFailed, match="cannot be reached"):
        reach("ssh://board")


def test_a_proxy_command_is_left_to_the_systems_ssh(ssh_server, user_settings):
    server = f"{shutil.which('python3')} -c 'import socket,sys'"
    write_config(user_settings, [ssh_server], lines=["Host board", f"ProxyCommand {server}"])
    with pytest.raises(ConnectFailed, match="ProxyCommand") as caught:
        reach("ssh://board")
    assert "ssh+exec://board" in caught.value.next_step
    with pytest.raises(ConnectFailed, match="ProxyCommand") as caught:
        trust(parse_address("ssh+exec://board"), None, never)
    assert "ssh board" in caught.value.next_step


def test_a_password_without_a_terminal_is_not_asked_for(ssh_server):
    script = f"from edgeprune.devices import connect; connect('ssh://{ssh_server.address}?password=ask')"
    done = subprocess.run(
        [sys.executable, "-c", script], input="secret\n", capture_output=True, text=True, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert "There is no terminal" in done.stderr


class PasswordServer(paramiko.ServerInterface):
    """Takes the password "open sesame" and gives no channel."""

    def __init__(self):
        self.tried = []

    def get_allowed_auths(self, username):
        return "publickey,password"

    def check_auth_publickey(self, username, key):
        self.tried.append(key.get_name())
        return paramiko.AUTH_FAILED

    def check_auth_password(self, username, password):
        self.tried.append(password)
        return paramiko.AUTH_SUCCESSFUL if password == "open sesame" else paramiko.AUTH_FAILED


@pytest.fixture
def password_server(user_settings):
    key = make_key(user_settings / "server_key")
    listener = socket.create_server(("127.0.0.1", 0))
    server = PasswordServer()
    links = []

    def serve():
        while True:
            try:
                link = paramiko.Transport(listener.accept()[0])
            except OSError:
                return
            link.add_server_key(paramiko.PKey.from_path(key))
            links.append(link)
            link.start_server(threading.Event(), server)

    thread = threading.Thread(target=serve)
    thread.start()
    server.port = listener.getsockname()[1]
    public = (user_settings / "server_key.pub").read_text()
    (user_settings / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public}")
    user_key = make_key(user_settings / "user_key")
    (user_settings / "ssh_config").write_text(
        f"Host *\n  IdentityFile {user_key}\n  UserKnownHostsFile {user_settings}/known_hosts\n"
    )
    yield server
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for link in links:
        link.close()
        link.join()


def try_password(server, monkeypatch, typed):
    monkeypatch.setattr(ssh_auth.os, "open", lambda path, flags: os.dup(0))
    monkeypatch.setattr(ssh_auth.getpass, "getpass", lambda prompt: typed)
    monkeypatch.setattr(ssh_auth, "_passwords", {})
    host = look_up(SshAddress("127.0.0.1", "ada", server.port, ask_password=True))
    ssh_auth.ask_password(host)
    links, deadline = Links(), Deadline(10)
    try:
        with links.cut_at(deadline):
            return links.log_in(host, deadline).transport.is_authenticated()
    finally:
        links.close()


def test_a_password_that_was_asked_for_comes_after_the_keys(password_server, monkeypatch):
    assert try_password(password_server, monkeypatch, "open sesame")
    assert password_server.tried == ["ssh-ed25519", "open sesame"]


def test_a_wrong_password_is_refused_without_being_told(password_server, monkeypatch):
    with pytest.raises(ConnectFailed, match="the password") as caught:
        try_password(password_server, monkeypatch, "hunter2")
    assert "hunter2" not in str(caught.value)
    assert ssh_auth._passwords == {}


def test_without_the_wish_no_password_is_tried(ssh_server, user_settings, monkeypatch):
    write_config(user_settings, [ssh_server], identity=user_settings / "absent")
    monkeypatch.setattr(ssh_auth.getpass, "getpass", never)
    with pytest.raises(ConnectFailed, match="no key to offer"):
        reach(f"ssh://{ssh_server.address}")


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[2J", b"SSH-2.0-odd\r\nrubbish" + bytes(99)]
)
def test_what_is_no_ssh_server_is_named_within_the_deadline(user_settings, says):
    (user_settings / "ssh_config").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers = []
        thread = threading.Thread(target=lambda: peers.append(listener.accept()[0]) or peers[0].sendall(says))
        thread.start()
        port = listener.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port}") as caught:
            SshTransport(SshAddress("127.0.0.1", port=port)).open(Deadline(1.0))
        assert time.monotonic() - started < 4
        assert str(caught.value).isprintable()
        thread.join()
        peers[0].close()


@pytest.mark.parametrize(("host", "words"), [("127.0.0.1", "refused"), ("no-such-host.invalid", "no-such-host")])
def test_a_host_that_is_not_there_is_named(user_settings, host, words):
    (user_settings / "ssh_config").write_text("")
    with pytest.raises(ConnectFailed, match=words):
        reach(f"ssh://{host}:{free_port()}")

"""The user's SSH configuration decides the way to a host, with and without an `ssh` to ask."""

import getpass
import os

import pytest

from edgeprune.devices import ssh_config
from edgeprune.devices.address import SshAddress
from edgeprune.devices.ssh_config import CONFIG_VARIABLE, look_up, ssh_options
from edgeprune.devices.ssh_known_hosts import own_file
from edgeprune.errors import ConfigError

CONFIG = """\
Host jetson
  HostName 192.0.2.7
  Port 2222
  User nvidia
  IdentityFile {folder}/key-%r
  IdentitiesOnly yes
  ProxyJump hop@gate:2200,second
  HostKeyAlias the-jetson
  UserKnownHostsFile {folder}/kh1 {folder}/kh2
  GlobalKnownHostsFile none
Host odd
  ProxyCommand nc %h %p
"""


@pytest.fixture(autouse=True, params=["ssh -G", "paramiko"])
def config(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config"))
    if request.param == "paramiko":
        monkeypatch.setattr(ssh_config.shutil, "which", lambda program: None)
    (tmp_path / "config").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "key-nvidia").write_text("")
    return tmp_path / "config"


def test_an_alias_brings_all_that_its_host_says(tmp_path):
    host = look_up(SshAddress("jetson"))
    assert (host.hostname, host.port, host.user) == ("192.0.2.7", 2222, "nvidia")
    assert host.identity_files == (tmp_path / "key-nvidia",)
    assert host.identities_only
    assert host.jumps == ("hop@gate:2200", "second")
    assert host.key_name == "the-jetson"
    assert host.known_hosts == (tmp_path / "kh1", tmp_path / "kh2", own_file())
    assert host.proxy_command == ""


def test_the_address_goes_before_the_configuration():
    host = look_up(SshAddress("jetson", "ada", 22))
    assert (host.hostname, host.port, host.user) == ("192.0.2.7", 22, "ada")


def test_a_host_of_no_entry_is_itself():
    host = look_up(SshAddress("board"))
    assert (host.hostname, host.port, host.user) == ("board", 22, getpass.getuser())
    assert host.jumps == ()
    assert host.key_name == "board"
    assert look_up(SshAddress("board", port=2200)).key_name == "[board]:2200"
    assert host.known_hosts[-1] == own_file()


def test_a_proxy_command_is_seen():
    assert look_up(SshAddress("odd")).proxy_command.startswith("nc ")


def test_a_broken_configuration_is_said_so(config):
    for text in ("Host x\n  Port many\n", "Host x\n  Match\n"):
        config.write_text(text)
        with pytest.raises(ConfigError):
            look_up(SshAddress("x"))


def test_a_configuration_that_is_not_there_is_no_obstacle_without_ssh(config):
    config.unlink()
    if ssh_config.shutil.which("ssh") is None:
        assert look_up(SshAddress("jetson")).hostname == "jetson"
    else:
        with pytest.raises(ConfigError, match="config"):
            look_up(SshAddress("jetson"))


def test_nothing_of_an_address_can_become_an_option():
    words = ssh_options(SshAddress("host", "-oProxyCommand=evil", 7))
    assert words == ["-F", os.environ[CONFIG_VARIABLE], "-l", "-oProxyCommand=evil", "-p", "7", "--", "host"]

"""Where one board is meant, no other one is touched, be it at the first link or at a later one."""

import pytest
from edgeprune_agent import identity

from edgeprune.devices import connect, expecting, resolve
from edgeprune.devices.connection import Connection
from edgeprune.errors import EXIT_DEVICE, ConfigError, UsageError, WrongDevice

OTHER = "0" * 16


def test_the_board_that_is_meant_is_opened(address):
    with connect(expecting(resolve(address), identity.device_id())) as session:
        assert session.info.device_id == identity.device_id()


def test_another_board_is_refused_before_its_lease_is_taken_and_both_are_named(address, root):
    with pytest.raises(WrongDevice, match=f"{identity.device_id()}.*{OTHER}") as refused:
        connect(expecting(resolve(address), OTHER))
    assert refused.value.exit_code == EXIT_DEVICE
    assert not (root / "lease.json").exists()


def test_a_cable_that_was_put_into_another_board_is_noticed(address, root, links, monkeypatch):
    shake_hands = Connection.open

    def answer_as_another(self, *args):
        hello = shake_hands(self, *args)
        return hello if len(links) == 1 else {**hello, "device_id": OTHER}

    monkeypatch.setattr(Connection, "open", answer_as_another)
    data = b"for the first board alone"
    with connect(expecting(resolve(address), identity.device_id())) as session:
        links[0].kill()
        with pytest.raises(WrongDevice):
            session.push_bytes(data)
    assert not list((root / "objects").iterdir())


@pytest.mark.parametrize("wrong", ["", "abc", OTHER.upper() + "G", OTHER + "0", "../" + OTHER])
def test_what_is_no_id_is_refused_and_never_taken_for_any_board(address, wrong):
    with pytest.raises(UsageError, match="no device id"):
        expecting(resolve(address), wrong)


def test_the_id_may_stand_in_the_list_of_boards(address, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "edgeprune").mkdir()
    listed = tmp_path / "edgeprune" / "devices.toml"
    listed.write_text(f'[devices.desk]\naddress = "{address}"\ndevice_id = "{OTHER}"\n')
    with pytest.raises(WrongDevice):
        connect("desk")
    listed.write_text(f'[devices.desk]\naddress = "{address}"\ndevice_id = "desk"\n')
    with pytest.raises(ConfigError, match="no device id"):
        connect("desk")

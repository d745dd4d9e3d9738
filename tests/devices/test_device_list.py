"""The user's device list is written without touching what the user wrote there."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.devices import resolve, user_list_path
from edgeprune.devices.device_list import add_device, make_profile, remove_device
from edgeprune.devices.resolve import read_device_list
from edgeprune.devices.user_files import change_file
from edgeprune.errors import ConfigError, EdgePruneError, StorageError, UnknownName, UsageError

BY_HAND = """\
# my boards
[devices.desk]   # under the lamp
address = 'ssh://pi@desk'

[devices.desk.tags]
room = "[not a table]"

[devices."shelf"]
address = "local://"
"""


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


def write(text):
    user_list_path().parent.mkdir(parents=True, exist_ok=True)
    user_list_path().write_text(text)


def add(name="board", address="ssh://pi@board", board="", meter="none", tags=()):
    profile = make_profile(name, address, board, meter, tags)
    add_device(profile)
    return profile


def test_what_is_added_is_resolved_and_private():
    profile = add(board="generic-linux", meter="onboard", tags=["bench=lab 2", "kind=pi"])
    assert resolve("board") == profile
    assert resolve("lab 2") == profile
    assert user_list_path().stat().st_mode & 0o777 == 0o600


def test_adding_and_removing_leave_the_rest_as_it_was():
    write(BY_HAND)
    add()
    assert user_list_path().read_text().startswith(BY_HAND)
    remove_device("board")
    assert user_list_path().read_text().rstrip("\n") == BY_HAND.rstrip("\n")


def test_removing_takes_the_subtables_along_and_leaves_the_comment():
    write(BY_HAND)
    remove_device("desk")
    assert user_list_path().read_text() == '# my boards\n[devices."shelf"]\naddress = "local://"\n'


def test_a_list_in_another_form_is_not_damaged():
    text = 'devices = { desk = { address = "local://" } }\n'
    write(text)
    with pytest.raises(ConfigError, match="of its own"):
        remove_device("desk")
    assert user_list_path().read_text() == text


def test_a_name_is_taken_once():
    add()
    with pytest.raises(UsageError, match="already"):
        add(address="local://")


def test_an_unknown_name_is_not_removed():
    add()
    with pytest.raises(UnknownName, match="bord"):
        remove_device("bord")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "local"}, "cannot be the name"), ({"name": "a b"}, "cannot be the name"),
        ({"name": "-x"}, "cannot be the name"), ({"address": "shh://x"}, "unknown scheme"),
        ({"board": "raspberry-pi-99"}, "raspberry-pi-99"), ({"tags": ["lab"]}, "not a tag"),
        ({"tags": ["a=\x1b[31m"]}, "control characters"), ({"meter": "x\n"}, "control characters"),
    ],
)  # fmt: skip
def test_a_wrong_part_is_named_and_nothing_is_written(arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        add(**arguments)
    assert not user_list_path().exists()


printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True), printable, printable)
def test_any_name_and_tag_comes_back(name, key, value):
    user_list_path().unlink(missing_ok=True)
    try:
        profile = add(name, meter=value, tags=[f"{key}={value}"])
    except UsageError:
        assert name == "local" or "=" in key
        return
    assert read_device_list(user_list_path()) == {name: profile}
    remove_device(name)
    assert read_device_list(user_list_path()) == {}


def test_two_that_write_at_once_lose_nothing():
    names = [f"board-{number}" for number in range(8)]
    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_device_list(user_list_path())) == set(names)


def test_a_folder_that_cannot_be_written_is_said_so_and_leaves_no_draft(tmp_path):
    (tmp_path / "settings").write_text("in the way")
    with pytest.raises(StorageError, match="new"):
        change_file(tmp_path / "settings" / "new.toml", lambda text: "x")
    assert (tmp_path / "settings").read_text() == "in the way"


def test_a_full_disk_leaves_the_old_list(monkeypatch):
    add()
    before = user_list_path().read_text()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EdgePruneError, match="No space left"):
        add("second")
    assert user_list_path().read_text() == before
    assert [path.name for path in user_list_path().parent.iterdir()] == ["devices.toml"]

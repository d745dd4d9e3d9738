"""`--device NAME`: the project's boards, then the user's, then a tag, then an address."""

import pytest

from edgeprune.config import DeviceConfig
from edgeprune.devices import known_devices, resolve, user_list_path
from edgeprune.errors import ConfigError, UnknownName, UsageError
from edgeprune.values.device import DeviceProfile

LIST = """
[devices.desk]
address = "ssh://pi@desk"
profile = "generic-linux"
meter = "onboard"
tags = { bench = "lab-1", kind = "pi" }

[devices.shelf]
address = "serial:///dev/ttyUSB0?baud=921600"
tags = { bench = "lab-2", kind = "pi" }
"""


@pytest.fixture(autouse=True)
def user_list(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "edgeprune" / "devices.toml"
    path.parent.mkdir()
    path.write_text(LIST)
    assert user_list_path() == path
    return path


def test_local_is_known_everywhere(user_list):
    user_list.unlink()
    assert resolve("local") == DeviceProfile("local", "local://", "generic-linux")


def test_a_listed_name_is_its_profile():
    assert resolve("desk") == DeviceProfile(
        "desk", "ssh://pi@desk", "generic-linux", "onboard", {"bench": "lab-1", "kind": "pi"}
    )


def test_the_project_comes_before_the_user_and_both_before_the_built_in():
    project = {name: DeviceConfig(name, "local://?root=/srv") for name in ("desk", "local")}
    assert resolve("desk", project).address == resolve("local", project).address == "local://?root=/srv"
    assert list(known_devices(project)) == ["local", "desk", "shelf"]


@pytest.mark.parametrize("tag", ["lab-2", "bench=lab-2"])
def test_a_tag_finds_the_one_board_that_has_it(tag):
    assert resolve(tag).name == "shelf"


def test_a_tag_of_several_boards_is_not_guessed():
    with pytest.raises(UsageError, match="desk, shelf"):
        resolve("pi")


def test_an_address_is_its_own_name():
    assert resolve("ssh://pi@x:22") == DeviceProfile("ssh://pi@x:22", "ssh://pi@x:22")


def test_a_profile_is_itself():
    profile = DeviceProfile("x", "local://")
    assert resolve(profile) is profile


def test_an_unknown_name_names_the_known_ones_and_ends_with_2():
    with pytest.raises(UnknownName, match=r"Did you mean 'desk'\? Known: desk, local, shelf") as caught:
        resolve("dsk")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[devices.x]\n", "no address"),
        ("devices = 3\n", "no place"),
        ("[boards.x]\naddress = 'local://'\n", "'boards' has no place"),
        ("[devices.x]\naddress = 3\n", "address is not text"),
        ("[devices.x]\naddress = 'local://'\ntags = { a = 1 }\n", "tags is not text"),
        ("[devices.x]\naddress = 'local://'\nadress = 'x'\n", "unknown key 'adress'"),
        ("[devices.x]\naddress = 'shh://x'\n", "unknown scheme"),
        ("[devices.x\n", "cannot be read"),
    ],
)
def test_a_wrong_list_names_its_file_and_what_is_wrong(user_list, text, complaint):
    user_list.write_text(text)
    with pytest.raises(ConfigError, match=r"devices\.toml") as caught:
        resolve("desk")
    assert complaint in str(caught.value)

"""known_hosts: read as OpenSSH reads it, written as OpenSSH reads it."""

import base64
import subprocess

import pytest

from edgeprune.devices.ssh_known_hosts import HostKey, entry_name, known_keys, own_file, remember

BLOB = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS")
KEY = HostKey("ssh-ed25519", BLOB)
TEXT = f"ssh-ed25519 {base64.b64encode(BLOB).decode()}"


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


def known(tmp_path, text, name="board"):
    path = tmp_path / "known_hosts"
    path.write_text(text)
    return known_keys(name, [path])


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path):
    (tmp_path / "key.pub").write_text(TEXT + "\n")
    said = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True)
    assert KEY.fingerprint == said.stdout.split()[1]


@pytest.mark.parametrize(
    ("hosts", "name", "found"),
    [
        ("board", "board", True), ("BOARD", "board", True), ("other", "board", False), ("a,board,b", "board", True),
        ("boa*", "board", True), ("boar?", "board", True), ("b?d", "board", False), ("*,!board", "board", False),
        ("[board]:2222", "[board]:2222", True), ("[board]:2222", "board", False), ("board", "[board]:2222", False),
        ("[*]:2222", "[board]:2222", True), ("[bo]ard", "board", False), ("b.ard", "board", False),
    ],
)  # fmt: skip
def test_names_match_as_in_openssh(tmp_path, hosts, name, found):
    assert (KEY in known(tmp_path, f"{hosts} {TEXT} comment\n", name).trusted) is found


@pytest.mark.parametrize("name", ["board", "[board]:2222", "192.0.2.7"])
def test_names_hashed_by_ssh_keygen_are_found(tmp_path, name):
    path = tmp_path / "hashed"
    path.write_text(f"{name} {TEXT}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    assert path.read_text().startswith("|1|")
    assert KEY in known_keys(name, [path]).trusted
    assert not known_keys("somebody-else", [path]).trusted


def test_markers_are_told_apart(tmp_path):
    found = known(tmp_path, f"@revoked * {TEXT}\n@cert-authority *.lab {TEXT}\n", "board.lab")
    assert found.revoked == {KEY}
    assert found.certified
    assert not found.trusted
    assert not known(tmp_path, f"@cert-authority *.lab {TEXT}\n", "board").certified


def test_what_is_no_entry_is_skipped(tmp_path):
    noise = (
        "\n# board ssh-ed25519 AAAA\nboard\nboard ssh-ed25519\nboard ssh-ed25519 !!!\n@odd\n|1|x|y ssh-rsa AAAA\n\xff\n"
    )
    assert known(tmp_path, noise + f"board {TEXT}").trusted.keys() == {KEY}
    assert not known_keys("board", [tmp_path / "absent"]).trusted


def test_a_remembered_key_is_found_by_us_and_by_openssh_and_is_private():
    remember("[board]:2222", KEY)
    assert known_keys("[board]:2222", [own_file()]).trusted == {KEY: own_file()}
    said = subprocess.run(["ssh-keygen", "-F", "[board]:2222", "-f", own_file()], capture_output=True, text=True)
    assert TEXT in said.stdout
    assert own_file().stat().st_mode & 0o777 == 0o600
    assert own_file().parent.stat().st_mode & 0o777 == 0o700


def test_a_new_key_takes_the_place_of_the_old_one_and_of_no_other(tmp_path):
    other = HostKey("ssh-ed25519", BLOB[:-1] + b"x")
    remember("board", other)
    with own_file().open("a") as file:
        file.write(f"@revoked board {TEXT}\nboard,neighbour {TEXT}\n# mine")
    remember("board", KEY)
    text = own_file().read_text()
    assert f"@revoked board {TEXT}\nboard,neighbour {TEXT}\n# mine\nboard {TEXT}\n" == text


def test_the_name_of_an_entry_has_the_port_unless_it_is_22():
    assert entry_name("Board", 22) == "board"
    assert entry_name("fe80::1", 2222) == "[fe80::1]:2222"

"""Addresses: what is parsed is formatted again, and what is wrong is said so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.devices.address import LocalAddress, SerialAddress, SshAddress, is_address, parse_address
from edgeprune.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("local://", LocalAddress()),
        ("local://?root=/srv/board", LocalAddress("/srv/board")),
        ("local://?root=/a%20b&quota=2MiB", LocalAddress("/a b", 2 << 20)),
        ("ssh://jetson.local", SshAddress("jetson.local")),
        ("ssh://nvidia@jetson:2222", SshAddress("jetson", "nvidia", 2222)),
        ("ssh://pi@[fe80::1]:22/", SshAddress("fe80::1", "pi", 22)),
        ("ssh+exec://pi@board", SshAddress("board", "pi", scheme="ssh+exec")),
        ("ssh://pi@board?root=/mnt/ssd&quota=1GiB", SshAddress("board", "pi", root="/mnt/ssd", quota_bytes=1 << 30)),
        ("ssh://pi@board?password=ask", SshAddress("board", "pi", ask_password=True)),
        ("ssh+exec://pi@board?identity=/k/id", SshAddress("board", "pi", identity="/k/id", scheme="ssh+exec")),
        ("serial:///dev/ttyUSB0", SerialAddress("/dev/ttyUSB0")),
        ("serial:///dev/ttyUSB0?baud=921600", SerialAddress("/dev/ttyUSB0", 921600)),
        ("serial:///dev/ttyUSB0?login=pi&root=/mnt/ssd", SerialAddress("/dev/ttyUSB0", login="pi", root="/mnt/ssd")),
        ("serial:///dev/ttyUSB0?agent=whole", SerialAddress("/dev/ttyUSB0", whole_agent=True)),
    ],
)
def test_an_address_has_its_parts(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


printable = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["C", "Z"]), max_size=20)
paths = printable.map(lambda text: "/" + text)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)


@given(paths, st.none() | st.integers(0, 2**50))
def test_local_addresses_come_back(root, quota):
    address = LocalAddress(root, quota)
    assert parse_address(str(address)) == address


@given(
    hosts, printable, st.none() | st.integers(0, 65535), paths, st.none() | st.integers(0, 2**50),
    st.sampled_from([(False, "ssh"), (True, "ssh"), (False, "ssh+exec")]),
)  # fmt: skip
def test_ssh_addresses_come_back(host, user, port, root, quota, how):
    address = SshAddress(host, user, port, root, quota, *how)
    assert parse_address(str(address)) == address


@given(paths.filter(lambda path: path.strip("/")), st.integers(300, 12_000_000), printable, paths, st.booleans())
def test_serial_addresses_come_back(port, baud, login, root, whole):
    address = SerialAddress(port, baud, login=login, root=root, whole_agent=whole)
    assert parse_address(str(address)) == address


@given(st.text())
def test_text_that_is_no_address_raises_nothing_but_a_usage_error(text):
    for candidate in (text, "local://" + text, "ssh://" + text, "serial://" + text):
        try:
            parse_address(candidate)
        except UsageError as error:
            assert error.next_step


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "unknown scheme"), ("jetson", "unknown scheme"), ("shh://host", "Did you mean ssh"),
        ("http://host", "unknown scheme"), ("local://host", "more than it may"), ("local://?rot=/x", "option 'rot'"),
        ("local://?quota=many", "not a number"), ("local://?quota=-1B", "less than nothing"),
        ("ssh://", "names no host"), ("ssh://host:port", "not an address"), ("ssh://host:99999", "not an address"),
        ("ssh://user:secret@host", "passwords"), ("ssh://host/path", "more than it may"), ("ssh://h?x=1", "option 'x'"),
        ("ssh://h?password=secret", "'password'"), ("ssh+exec://h?password=ask", "'password'"),
        ("ssh+exec://", "no host"), ("ssh://-oProxyCommand=x", "begins with '-'"),
        ("serial://", "names no port"), ("serial://host/dev/tty", "more than it may"),
        ("serial:///dev/ttyUSB0?baud=fast", "baud"), ("serial:///dev/ttyUSB0?baud=9", "baud"),
        ("ssh://ho\x1bst", "control characters"), ("ssh://host#x", "more than it may"),
    ],
)  # fmt: skip
def test_a_wrong_address_says_what_is_wrong(text, complaint):
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert complaint in str(caught.value)
    assert "secret" not in caught.value.next_step


def test_a_name_is_no_address():
    assert not is_address("jetson")
    assert is_address("ssh://jetson")

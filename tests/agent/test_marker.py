"""The marker's line by the kernel's own structures: no GPIO chip was there, so the calls are noted, byte by byte."""

import fcntl
import os
import struct

import pytest
from edgeprune_agent import specs
from edgeprune_agent.marker import Marker, NoMarker
from edgeprune_agent.wire import AgentError

WANTED = {"chip": "gpiochip0", "line": 17}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A chip at which every ioctl is noted; its line is the read end of nothing."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "gpiochip0").touch()
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path))
    found = []

    def ioctl(file, request, data, mutate=False):
        found.append((request, bytes(data)))
        if request == 0xC250B407:
            data[588:592] = type(data)("B", struct.pack("=i", os.open("/dev/null", os.O_RDONLY)))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return found


def test_one_line_is_asked_for_as_an_output(calls):
    Marker(WANTED).close()
    ((request, data),) = calls
    assert (request, len(data)) == (0xC250B407, 592)
    assert struct.unpack_from("=2I", data) == (17, 0)
    assert data[256:288].rstrip(b"\0") == b"edgeprune"
    assert struct.unpack_from("=QI", data, 288) == (8, 0)  # GPIO_V2_LINE_FLAG_OUTPUT, no attributes
    assert struct.unpack_from("=II", data, 560) == (1, 0)


def test_levels_are_set_and_when_is_noted(calls):
    marker = Marker(WANTED)
    for level in (1, 0):
        marker.put(level)
    assert calls[1:] == [(0xC010B40F, struct.pack("=QQ", level, 1)) for level in (1, 0)]
    (up, up_bound), (down, _) = marker.marks
    assert up < down
    assert up_bound >= 1
    marker.close()


def test_a_chip_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path))
    with pytest.raises(NoMarker, match=r"line 17 of .*/dev/gpiochip0 cannot be driven: No such file"):
        Marker(WANTED)


def test_a_file_that_is_no_chip_is_named(tmp_path, monkeypatch):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "gpiochip0").touch()
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path))
    with pytest.raises(NoMarker, match="Inappropriate ioctl"):
        Marker(WANTED)


@pytest.mark.parametrize(
    "wanted",
    [
        {"chip": "gpiochip0"}, {"chip": "../mem", "line": 1}, {"chip": "gpiochip0", "line": -1},
        {"chip": "gpiochip0", "line": True}, {"chip": "gpiochip0/../../sda", "line": 1}, "gpiochip0:17",
    ],
)  # fmt: skip
def test_what_names_no_line_is_refused(wanted):
    with pytest.raises(AgentError):
        specs._marker("marker", wanted)

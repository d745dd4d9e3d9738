"""A line of the board at a meter's input puts the meter's readings on the board's clock."""

from array import array

import numpy as np
import pytest

from edgeprune.errors import MeterFailed, UsageError
from edgeprune.measuring.clock_offset import offsets_at_edges, to_board_clock
from edgeprune.measuring.meters import open_meter, parse_meter
from edgeprune.measuring.meters.ppk2 import Ppk2
from edgeprune.measuring.power_source import BoardReadings, HostPower

WIRED = "ppk2:///dev/ttyACM1?input=3&marker=gpiochip0:17"
PER_S = 100_000


def words(levels: np.ndarray, first: int = 0) -> bytes:
    """Return samples of no current with these levels of D3."""
    numbers = np.arange(first, first + len(levels)).astype(np.uint32) % 64
    return ((numbers << 18) | (levels.astype(np.uint32) << 27)).astype("<u4").tobytes()


def test_the_address_names_input_and_line():
    meter = open_meter(parse_meter(WIRED))
    assert meter.address.marker == {"chip": "gpiochip0", "line": 17}
    assert meter.edge_bound_s == 1e-5


@pytest.mark.parametrize(
    "options", ["input=3", "marker=gpiochip0:17", "input=3&marker=17", "input=3&marker=/dev/gpiochip0:1"]
)
def test_half_a_wire_is_refused(options):
    with pytest.raises(UsageError, match=r"gpiochip0:17"):
        parse_meter(f"ppk2:///dev/ttyACM1?{options}").marker  # noqa: B018


@pytest.mark.parametrize("number", ["8", "-1", "0.5", "D0"])
def test_an_input_that_it_has_not_is_refused(number):
    with pytest.raises(UsageError, match="input="):
        open_meter(parse_meter(f"ppk2:///dev/ttyACM1?input={number}&marker=gpiochip0:17"))


@pytest.mark.parametrize("portion", [1, 7, 100, 997, 4000])
def test_edges_are_found_to_the_sample_however_the_bytes_come(portion):
    levels = np.zeros(4000, dtype=int)
    levels[1234:3456] = 1
    meter = Ppk2(parse_meter(WIRED))
    data, edges, times = words(levels), [], array("q")
    for at in range(0, len(data), 4 * portion):
        # Each portion arrives when its last sample was taken, so the clock's origin is known.
        last = min(at // 4 + portion, len(levels))
        found = meter.take(data[at : at + 4 * portion], 10**9 + last * 10_000)
        edges += found.edges or ()
        times.extend(found.times_ns)
    assert [level for _, level in edges] == [1, 0]
    assert edges[0][0] == pytest.approx(10**9 + 1235 * 10_000, abs=10_000)
    assert edges[1][0] == pytest.approx(10**9 + 3457 * 10_000, abs=10_000)
    assert len(times) == 40


def test_a_meter_without_a_wire_tells_no_edges():
    assert Ppk2(parse_meter("ppk2:///dev/ttyACM1")).take(words(np.ones(200, dtype=int)), 10**9).edges is None


def test_edges_set_the_clock_at_both_ends():
    rise, fall = offsets_at_edges([(1_000, 1), (2_000, 0)], [(501_010, 5), (502_030, 7)])
    times, bound_s = to_board_clock(array("q", [1_000, 1_500, 2_000]), rise, fall)
    assert list(times) == [501_010, 501_520, 502_030]
    assert bound_s == pytest.approx(7e-9)


@pytest.mark.parametrize("edges", [[], [(1, 1)], [(1, 0), (2, 1)], [(1, 1), (2, 0), (3, 1), (4, 0)]])
def test_another_story_at_the_input_is_no_measurement(edges):
    with pytest.raises(MeterFailed, match="set its line up and down once"):
        offsets_at_edges(edges, [(1, 1), (2, 1)])


class OneRecording(Ppk2):
    """A PPK2 whose samples are there at once, wired to a board whose clock is a minute ahead."""

    def start(self) -> None:
        self._forget()
        levels = np.zeros(3 * PER_S, dtype=int)
        levels[PER_S : 2 * PER_S] = 1
        self.rest = [self.take(words(levels), 5 * 10**9)]

    def read(self):
        return self.rest.pop() if self.rest else self.take(b"", 5 * 10**9)

    def stop(self) -> None:
        pass


class Board:
    """Answers pings slowly: its clock by these is known to 5 ms at best."""

    def request(self, op, deadline_s=0, **arguments):
        import time

        time.sleep(0.01)
        return {"now_ns": time.monotonic_ns()}


def test_readings_are_on_the_boards_clock_by_the_wire_not_by_pings():
    source = HostPower(OneRecording(parse_meter(WIRED)), Ppk2(parse_meter(WIRED)).facts, Board())
    assert source.marker == {"chip": "gpiochip0", "line": 17}
    source.begin()
    while source._recorder._meter.rest:
        pass
    told = BoardReadings()
    told.hear({"kind": "load", "marks": [[63_000_000_000, 2_000], [64_000_000_000, 2_000]]})
    trace = source.end(told)
    assert trace.clock_bound_s < 20e-6
    assert trace.times_ns[0] == pytest.approx(62_000_000_000, abs=2_000_000)
    assert trace.times_ns[-1] == pytest.approx(65_000_000_000, abs=2_000_000)

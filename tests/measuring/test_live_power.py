"""Mean power between two looks, by hand; and a meter that fails in between."""

from array import array

import pytest

from edgeprune.errors import MeterFailed
from edgeprune.measuring.live_power import LiveMeter, mean_power
from edgeprune.measuring.meters import Meter, MeterAddress, MeterReadings
from edgeprune.measuring.meters.recorder import Recorder
from edgeprune.values.power import MeterFacts

S = 10**9


def readings(times_s, values):
    return MeterReadings(array("q", [round(t * S) for t in times_s]), array("q", values))


def test_the_mean_of_powers_is_theirs():
    assert mean_power(readings([0, 1], [2 * S, 4 * S])) == 3.0
    assert mean_power(readings([], [])) is None


def test_the_power_of_a_counter_is_what_it_rose_since_the_last_reading_before():
    first, second = readings([0, 1], [0, 5 * S]), readings([3], [9 * S])
    assert mean_power(first, MeterReadings()) == 5.0
    assert mean_power(second, first) == 2.0
    assert mean_power(second, MeterReadings()) is None


class Fading(Meter):
    """A counter that gives one reading whenever it is let, and fails after that many."""

    facts = MeterFacts("fading", "board", "external", 0.001, counter=True)

    def __init__(self, count):
        super().__init__(MeterAddress("fading"))
        self._left, self._at = count, 0

    def start(self):
        """Nothing to connect."""

    def read(self):
        if not self._left:
            raise MeterFailed("It is gone.", "Plug it in.")
        self._left, self._at = self._left - 1, self._at + 1
        return readings([self._at], [7 * self._at * S])

    def stop(self):
        """Nothing to leave."""


def test_a_meter_that_fails_gives_its_reason_from_then_on():
    with LiveMeter(Fading(0)) as power:
        power._recorder._thread.join()
        for _ in range(2):
            assert power.look() == (None, "It is gone. Plug it in.")


def test_what_was_taken_is_not_taken_again():
    recorder = Recorder(Fading(3))
    recorder.start()
    recorder._thread.join()
    recorder._failure = None
    assert list(recorder.take().values) == [7 * S, 14 * S, 21 * S]
    assert not recorder.stop().values


def test_a_time_without_a_reading_has_no_power(monkeypatch):
    power = LiveMeter(Fading(2))
    taken = iter([readings([1, 2], [7 * S, 14 * S]), MeterReadings(), readings([4], [20 * S])])
    monkeypatch.setattr(power._recorder, "take", lambda: next(taken))
    assert power.look() == (pytest.approx(7.0), "")
    assert power.look() == (None, "the meter gave no reading in this time")
    assert power.look() == (pytest.approx(3.0), "")

"""Meters at the host: one contract for all, over the cables and bytes of the real ones."""

from __future__ import annotations

import struct
import threading
import time
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import MeterFailed, UnknownName, UsageError
from edgeprune.measuring import measure
from edgeprune.measuring.clock_offset import Offset, measure_offset, to_board_clock
from edgeprune.measuring.meters import (
    MeterAddress,
    MeterReadings,
    fnb58,
    korad,
    open_meter,
    parse_meter,
    ppk2_samples,
    scpi,
    um25c,
)
from edgeprune.measuring.meters.joulescope import Joulescope, decode
from edgeprune.measuring.meters.ppk2 import Ppk2
from edgeprune.measuring.meters.recorder import Recorder
from edgeprune.measuring.meters.replay import read_trace
from edgeprune.measuring.meters.sample_clock import SampleClock
from edgeprune.testing import instruments
from edgeprune.testing.lines import SerialLine, TcpLine
from edgeprune.testing.meter_models import METERS
from edgeprune.testing.ppk2 import CALIBRATION_TEXT, FakePpk2, to_adc
from edgeprune.testing.synthetic_board import SyntheticBoard
from edgeprune.values.plan import BenchPlan
from edgeprune.values.power import BOUNDARIES, FIDELITIES


class Dial:
    """A power that a test turns."""

    def __init__(self, watts=0.9):
        self.watts = watts

    def __call__(self):
        return self.watts


class MeterContract:
    """What every meter keeps. A subclass gives `watts`, `model` and the fixture `meter`: a meter, not started."""

    watts = 0.9
    model = ""
    tolerance = 0.02

    @pytest.fixture
    def dial(self):
        return Dial(self.watts)

    def collect(self, meter, count, seconds=10.0, least_ns=0):
        times, values, dropped = array("q"), array("q"), 0
        give_up = time.monotonic() + seconds
        while len(values) < count or times[-1] - times[0] < least_ns:
            assert time.monotonic() < give_up, f"{len(values)} readings"
            readings = meter.read()
            times.extend(readings.times_ns)
            values.extend(readings.values)
            dropped += readings.dropped
        return times, values, dropped

    def watts_of(self, meter, times, values):
        if not meter.facts.counter:
            return np.mean(values[1:]) * 1e-9
        return (values[-1] - values[0]) / (times[-1] - times[0])

    def test_it_reads_the_power_that_there_is(self, meter):
        with meter:
            facts = meter.facts
            # A counter's readings have the times of their arrival: over two seconds a late one does not matter.
            times, values, _ = self.collect(meter, 6, least_ns=2e9 if facts.counter else 0)
        expected = pytest.approx(self.watts, rel=self.tolerance, abs=2 * facts.resolution_w)
        assert self.watts_of(meter, times, values) == expected

    def test_its_times_rise_on_this_machines_clock_and_are_not_in_the_future(self, meter):
        begin = time.monotonic_ns()
        with meter:
            times, values, _ = self.collect(meter, 5)
        assert len(times) == len(values) and list(times) == sorted(set(times))
        assert begin - 1e9 < times[0] and times[-1] <= time.monotonic_ns()

    def test_it_states_source_boundary_rate_and_resolution(self, meter):
        with meter:
            facts = meter.facts
        assert facts.source and facts.boundary in BOUNDARIES and facts.fidelity in FIDELITIES
        assert facts.period_s > 0 and facts.resolution_w >= 0

    def test_its_facts_are_those_that_the_truth_test_uses(self, meter):
        if not self.model:
            return
        with meter:
            facts = meter.facts
        for field in ("period_s", "average_s", "delay_s", "gain_ratio", "offset_w", "counter"):
            assert getattr(facts, field) == pytest.approx(getattr(METERS[self.model].facts, field), rel=0.1), field

    def test_it_may_be_stopped_twice_and_started_again(self, meter):
        for _ in range(2):
            with meter:
                self.collect(meter, 2)
            meter.stop()

    def test_the_user_knows_its_boundary_better(self, meter):
        options = {**meter.address.options, "boundary": "wall", "gain_ratio": "0.5"}
        other = type(meter)(MeterAddress(meter.address.kind, meter.address.place, options))
        other.start() if meter.address.kind == "replay" else None
        assert other.facts.boundary == "wall" and other.facts.gain_ratio == 0.5

    def test_an_option_that_nobody_reads_is_refused(self, meter):
        with pytest.raises(UnknownName, match="shnut"):
            type(meter)(MeterAddress(meter.address.kind, meter.address.place, {"shnut": "1"}))


class OverACable(MeterContract):
    """Meters whose instrument is at the other end of a cable; a subclass gives `instrument(dial)`."""

    line = SerialLine

    def instrument(self, dial):
        raise NotImplementedError

    @pytest.fixture
    def meter(self, dial):
        with self.line(self.instrument(dial)) as line:
            yield open_meter(MeterAddress(self.kind, line.place, self.options))

    options: dict = {}  # noqa: RUF012
    kind = ""

    def test_an_instrument_that_is_not_there_is_named(self):
        with pytest.raises(MeterFailed, match="/dev/no_such_port"):
            open_meter(MeterAddress(self.kind, "/dev/no_such_port", self.options)).start()

    def test_a_meter_that_was_not_started_is_no_meter(self, meter):
        with pytest.raises(MeterFailed, match="not started"):
            meter.read()


class TestPpk2(OverACable):
    kind, model, options = "ppk2", "ppk2", {"mode": "source", "millivolt": "5000"}

    def instrument(self, dial):
        return FakePpk2(dial)


class TestPpk2AfterAKilledSession(OverACable):
    kind, options = "ppk2", {"millivolt": "3300"}

    def instrument(self, dial):
        return FakePpk2(dial, running=True)


class TestUm25c(OverACable):
    kind, model, watts = "um25c", "um25c", 4.0

    def instrument(self, dial):
        return instruments.FakeUm25c(dial, damaged={2}, lost={4}, refresh_s=0.05)

    @pytest.fixture
    def meter(self, dial, monkeypatch):
        monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(seconds / 10))
        with self.line(self.instrument(dial)) as line:
            yield open_meter(MeterAddress(self.kind, line.place))


class TestFnb58(OverACable):
    kind, model, watts = "fnb58", "fnb58", 4.0

    def instrument(self, dial):
        return instruments.FakeFnb58(dial, damaged={3})


class TestScpiOverSerial(OverACable):
    kind, model, watts = "scpi", "scpi", 4.0

    def instrument(self, dial):
        return instruments.FakeScpi(dial, overloads={2})


class TestScpiOverTcp(OverACable):
    kind, watts, line, options = "scpi", 4.0, TcpLine, {"period_s": "0.01"}

    def instrument(self, dial):
        return instruments.FakeScpi(dial, "KEYSIGHT,N6705C,MY0,1.0", "{:+.5E}")

    def test_an_instrument_that_is_not_there_is_named(self):
        with pytest.raises(MeterFailed, match=r"No instrument answers at 127\.0\.0\.1:1"):
            open_meter(MeterAddress("scpi", "127.0.0.1:1")).start()


class TestOwon(OverACable):
    kind, watts, options = "scpi", 4.0, {"period_s": "0.01"}

    def instrument(self, dial):
        return instruments.FakeScpi(dial, "OWON,SPE3102,1,FV:V1", "{:.3f}V")


class TestKorad(OverACable):
    kind, model, watts, tolerance = "korad", "korad", 4.0, 0.05

    def instrument(self, dial):
        return instruments.FakeKorad(dial, damaged={4})


class TestKwr(OverACable):
    kind, watts, tolerance = "korad", 4.0, 0.05

    def instrument(self, dial):
        return instruments.FakeKorad(dial, digit=False)


class TestJoulescope(MeterContract):
    model, watts = "joulescope", 2.0

    @pytest.fixture
    def meter(self, dial, monkeypatch):
        driver = instruments.FakeJoulescopeDriver(dial)
        monkeypatch.setattr("edgeprune.measuring.meters.joulescope._new_driver", lambda: driver)
        driver.finalize = lambda: None
        return Joulescope(MeterAddress("joulescope"))


class TestReplay(MeterContract):
    @pytest.fixture
    def meter(self, tmp_path):
        rows = "".join(f"{i / 50:.3f},{self.watts + 0.001 * (-1) ** i}\n" for i in range(500))
        (tmp_path / "trace.csv").write_text("time_s,power_w\n" + rows)
        return open_meter(MeterAddress("replay", str(tmp_path / "trace.csv")))


# --- addresses


@pytest.mark.parametrize(
    ("text", "kind", "place", "options"),
    [
        ("none", "none", "", {}),
        ("onboard", "onboard", "", {}),
        ("onboard:power_supply?current_unit=mA", "onboard", "power_supply", {"current_unit": "mA"}),
        ("onboard?boundary=board", "onboard", "", {"boundary": "board"}),
        ("replay:runs/trace.csv", "replay", "runs/trace.csv", {}),
        ("replay:/tmp/trace.csv?average_s=1", "replay", "/tmp/trace.csv", {"average_s": "1"}),
        ("ppk2:///dev/ttyACM1?mode=source", "ppk2", "/dev/ttyACM1", {"mode": "source"}),
        ("scpi://supply.lab:5555", "scpi", "supply.lab:5555", {}),
        ("joulescope://u/js220/000123", "joulescope", "u/js220/000123", {}),
        ("joulescope://", "joulescope", "", {}),
    ],
)
def test_an_address_is_read(text, kind, place, options):
    assert parse_meter(text) == MeterAddress(kind, place, options)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_usage_error(text):
    try:
        address = parse_meter(text)
    except (UsageError, ValueError) as error:
        assert str(error)
    else:
        assert address.kind


def test_unknown_meters_and_values_are_usage_errors():
    with pytest.raises(UnknownName, match="ppk3"):
        open_meter(parse_meter("ppk3:///dev/ttyACM0"))
    with pytest.raises(UnknownName, match="mode"):
        open_meter(parse_meter("ppk2:///dev/ttyACM0?mode=amps"))
    with pytest.raises(UsageError, match="millivolt=9000"):
        open_meter(parse_meter("ppk2:///dev/ttyACM0?millivolt=9000"))
    with pytest.raises(UsageError, match="gain_ratio=much"):
        open_meter(parse_meter("um25c:///dev/x?gain_ratio=much")).facts  # noqa: B018
    with pytest.raises(UnknownName, match="boundary"):
        open_meter(parse_meter("um25c:///dev/x?boundary=moon")).facts  # noqa: B018


# --- PPK2

CALIBRATION = ppk2_samples.read_calibration(CALIBRATION_TEXT)


def words(*values):
    return np.array(values, dtype=np.uint32)


def test_the_golden_samples_of_a_ppk2_decode_exactly():
    low, high = (np.frombuffer(bytes.fromhex(text), "<u4").astype(np.uint32) for text in ("1b000000", "e8830401"))
    assert round(ppk2_samples.amps(low, CALIBRATION)[0] * 1e6, 8) == 0.02145488
    assert round(ppk2_samples.amps(high, CALIBRATION)[0] * 1e6, 3) == 4405.837
    assert (ppk2_samples.ranges(high)[0], ppk2_samples.counters(high)[0], int(high[0]) >> 24) == (2, 1, 1)
    at_5_volt = ppk2_samples.read_calibration(CALIBRATION_TEXT.replace("VDD: 3741", "VDD: 5000"))
    assert round(ppk2_samples.amps(low, at_5_volt)[0] * 1e6, 4) == 0.0819


@pytest.mark.parametrize(
    ("millivolt", "expected"), [(800, (3, 32)), (1800, (7, 8)), (3300, (12, 228)), (5000, (19, 136)), (9999, (19, 136))]
)
def test_voltages_are_two_bytes(millivolt, expected):
    assert tuple(ppk2_samples.voltage_bytes(millivolt)) == expected


def test_calibration_that_is_no_number_or_zero_keeps_its_default():
    found = ppk2_samples.read_calibration(CALIBRATION_TEXT.replace("R0: 1003.3506", "R0: -nan").replace("0.9519", "0"))
    assert found.r[0] == 1031.64 and found.gi[3] == 1.0 and found.r[1] == 101.5865


@given(st.text(max_size=300))
def test_any_calibration_text_is_finite(text):
    found = ppk2_samples.read_calibration(text)
    assert all(np.isfinite(getattr(found, name)).all() for name in ppk2_samples.COEFFICIENTS)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=400), st.integers(0, 1000))
def test_bytes_of_a_ppk2_may_be_split_anywhere(sizes, seed):
    adc = np.rint(to_adc(np.full(600, 0.2), 4, CALIBRATION)).astype(np.uint32)
    numbers = (np.arange(600) + seed) % 64
    data = (adc | (4 << 14) | (numbers.astype(np.uint32) << 18)).astype("<u4").tobytes()
    meter = Ppk2(MeterAddress("ppk2", "/dev/none"))
    meter._calibration = CALIBRATION
    values, dropped, position = [], 0, 0
    for size in [*sizes, len(data)]:
        readings = meter.take(data[position : position + size], 10**9 + position)
        position += size
        values += readings.values
        dropped += readings.dropped
    assert len(values) == 6 and dropped == 0
    assert values == pytest.approx([10**9] * 6, rel=5e-3)


def test_lost_samples_of_a_ppk2_are_counted():
    numbers = np.delete(np.arange(1000), slice(300, 340))
    data = ((numbers.astype(np.uint32) % 64 << 18) | 1000 | (4 << 14)).astype("<u4").tobytes()
    meter = Ppk2(MeterAddress("ppk2", "/dev/none"))
    assert meter.take(data, 10**9).dropped == 1


def test_a_ppk2_at_its_end_is_saturated():
    meter = Ppk2(MeterAddress("ppk2", "/dev/none"))
    assert meter.take(words(16383 | 4 << 14).astype("<u4").tobytes(), 1).flags == {"saturated"}
    assert not ppk2_samples.saturated(words(16383 | 3 << 14))


def test_samples_after_a_change_of_range_are_replaced_by_the_average_before_it():
    spiked = np.concatenate([np.full(200, 1.0), [9.0, 9.0, 9.0], np.full(97, 1.1)])
    which = np.concatenate([np.full(200, 3), np.full(100, 4)])
    at_once = ppk2_samples.SpikeFilter()(spiked, which)
    assert at_once.max() == pytest.approx(1.1) and at_once[200:203] == pytest.approx([1.0] * 3)
    for cut in (199, 200, 201, 202, 203):
        pieces = ppk2_samples.SpikeFilter()
        split = np.concatenate([pieces(spiked[:cut], which[:cut]), pieces(spiked[cut:], which[cut:])])
        assert split == pytest.approx(at_once)


@given(st.floats(1e-6, 0.9))
def test_the_fake_ppk2_shows_the_current_that_it_is_given(amps):
    which = int(np.searchsorted((50e-6, 500e-6, 5e-3, 60e-3), amps))
    adc = np.rint(to_adc(np.array([amps]), which, CALIBRATION)).astype(np.uint32)
    step = 4 * 1.8 / 163840 / CALIBRATION.r[which]
    assert ppk2_samples.amps(adc | np.uint32(which << 14), CALIBRATION)[0] == pytest.approx(amps, abs=1.5 * step)


# --- other bytes


def test_the_golden_commands_of_an_fnb58():
    assert [fnb58.command(number)[-1] for number in (0x81, 0x82, 0x83)] == [0x8E, 0x96, 0x9E]
    assert fnb58.command(0x81) == bytes([0xAA, 0x81]) + bytes(61) + b"\x8e"


def test_an_fnb58_report_is_read_and_a_damaged_one_refused():
    report = instruments.report_fnb58([(5.0, 0.8)] * 4)
    assert fnb58.decode(report) == pytest.approx([4.0] * 4)
    assert fnb58.decode(report[:-1] + bytes([report[-1] ^ 1])) is None
    assert fnb58.decode(b"\xaa\x03" + bytes(62)) == []


def test_a_um25c_answer_is_read_in_its_models_steps():
    assert um25c.decode(instruments.frame_um25c(0x09C9, 5012, 8123)) == (
        "UM25C",
        pytest.approx(5.012),
        pytest.approx(0.8123),
    )
    assert um25c.decode(instruments.frame_um25c(0x0963, 501, 812)) == (
        "UM24C",
        pytest.approx(5.01),
        pytest.approx(0.812),
    )
    assert um25c.decode(instruments.frame_um25c(0x1234, 501, 812)) is None


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("5.0114,0.1000,0.501", [5.0114, 0.1, 0.501]), ("+5.01140E+00", [5.0114]), ("5.01V", [5.01]),
        ("9.9E37", None), ("-9.9E+37", None), ("9.91E37", None), ("", None), ("5.0,", None), ('0,"No error"', None),
    ],
)  # fmt: skip
def test_numbers_of_scpi(answer, values):
    assert scpi.numbers(answer) == (values if values is None else pytest.approx(values))


def test_each_scpi_instrument_is_asked_in_its_own_words():
    assert scpi.questions("RIGOL TECHNOLOGIES,DP832A,DP8B,00.01.16", 2) == (":MEAS:ALL? CH2",)
    assert scpi.questions("OWON,SPE3102,1,FV", 1) == ("MEAS:ALL?",)
    assert scpi.questions("KEYSIGHT,34465A,MY,1", 1) == scpi.questions("?", 1) == ("MEAS:VOLT?", "MEAS:CURR?")


@pytest.mark.parametrize(("answer", "value"), [(b"05.00", 5.0), (b"0.123", 0.123), (b"0.12", None), (b"KORAD", None)])
def test_numbers_of_a_korad(answer, value):
    assert korad.decode(answer) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reading_or_none(data):
    assert um25c.decode(data) is None or len(data) == 130
    assert fnb58.decode(data[:64]) is None or data[0] == 0xAA
    assert korad.decode(data) is None or 0 <= korad.decode(data) < 100
    found = scpi.numbers(data.decode("latin-1"))
    assert found is None or np.isfinite(found).all()


@given(st.binary(max_size=400))
def test_a_ppk2_takes_any_bytes(data):
    readings = Ppk2(MeterAddress("ppk2", "/dev/none")).take(data, 10**9)
    assert len(readings.times_ns) == len(readings.values) == len(data) // 400


@given(st.dictionaries(st.sampled_from(["time", "accumulators"]), st.none() | st.integers() | st.lists(st.integers())))
def test_a_joulescope_value_of_another_form_is_a_meter_that_failed(value):
    with pytest.raises(MeterFailed):
        decode(value)


def test_no_joulescope_or_two_are_an_error():
    for paths in ((), ("u/js220/1", "u/js220/2")):
        meter = Joulescope(MeterAddress("joulescope"), instruments.FakeJoulescopeDriver(Dial(), paths))
        with pytest.raises(MeterFailed, match=f"There are {len(paths)}"):
            meter.start()


@pytest.mark.parametrize(
    "text", ["", "time_s\n1\n", "time_s,power_w\n0,1\n", "time_s,power_w\n1,1\n0,1\n", "time_s,power_w\n0,x\n1,1\n",
             "time_s,power_w\n0,nan\n1,1\n", "\x00\xff"],
)  # fmt: skip
def test_a_file_that_is_no_trace_is_refused(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, "latin-1")
    with pytest.raises(MeterFailed, match="is no power trace"):
        read_trace(tmp_path / "t.csv")


# --- wrong instruments


@pytest.mark.slow
def test_an_instrument_of_another_kind_is_found_out():
    with SerialLine(instruments.FakeScpi(Dial())) as line:
        with pytest.raises(MeterFailed):
            open_meter(MeterAddress("um25c", line.place)).start()
        with pytest.raises(MeterFailed, match="no Korad"):
            open_meter(MeterAddress("korad", line.place)).start()
    with SerialLine(instruments.FakeKorad(Dial())) as line, pytest.raises(MeterFailed):
        open_meter(MeterAddress("scpi", line.place)).start()


# --- clocks


def test_samples_are_stamped_evenly_however_late_they_arrive():
    clock, source, stamped = SampleClock(0.001), np.random.default_rng(0), []
    for last in range(10, 2001, 10):
        late_ns = int(source.exponential(3e6))
        stamped += clock.stamp(last, 10, last * 1_000_000 + late_ns)
    true = np.arange(1, 2001) * 1_000_000
    assert np.abs(np.array(stamped) - true)[500:].max() < 1_000_000
    assert (np.diff(stamped) > 0).all()


def test_samples_that_were_lost_unseen_show_in_the_time():
    clock = SampleClock(0.001)
    for last in range(10, 6001, 10):
        late = 0 if last < 1000 else 64_000_000
        times = clock.stamp(last, 10, last * 1_000_000 + late)
    assert clock.slipped == 64 and times[-1] == 6000 * 10**6 + 64_000_000


@pytest.mark.parametrize(("there_s", "back_s"), [(0.0, 0.004), (0.004, 0.0), (0.001, 0.001)])
def test_the_offset_of_a_board_is_within_its_bound_however_unequal_the_two_ways_are(there_s, back_s):
    board = SyntheticBoard(clock_ahead_s=123.0, drift_ratio=0.0, there_s=there_s, back_s=back_s)
    offset = measure_offset(board, 4)
    assert abs(offset.offset_ns - 123.0e9) <= offset.bound_ns <= 20e6


def test_times_between_two_offsets_follow_the_drift():
    before, after = Offset(0, 1000, 50), Offset(10**9, 51_000, 80)
    times, bound_s = to_board_clock(array("q", [0, 5 * 10**8, 10**9]), before, after)
    assert list(times) == [1000, 5 * 10**8 + 26_000, 10**9 + 51_000]
    assert bound_s == pytest.approx(80e-9)


# --- recording


class Failing:
    """A meter that fails after some readings."""

    address = MeterAddress("failing")

    def __init__(self, error):
        self._error, self._left, self.stopped = error, 3, threading.Event()

    def start(self):
        pass

    def read(self):
        if not self._left:
            raise self._error
        self._left -= 1
        return MeterReadings(array("q", [self._left]), array("q", [1]), 1)

    def stop(self):
        self.stopped.set()


@pytest.mark.parametrize("error", [MeterFailed("It is gone.", "Plug it in."), RuntimeError("of a library")])
def test_a_meter_that_fails_while_it_records_is_told_at_the_end(error):
    meter = Failing(error)
    recorder = Recorder(meter)
    recorder.start()
    recorder._thread.join(5)
    with pytest.raises(MeterFailed):
        recorder.stop()
    assert meter.stopped.is_set()


# --- the whole way

PLAN = BenchPlan(
    "custom", warmup_s=0.0, warmup_runs=0, min_duration_s=0.5, max_duration_s=5.0, min_runs=20, repeats=1, cool_s=0.0,
    max_wait_ratio=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import board_models

    return board_models.artifact(board_models.linear(tmp_path_factory.mktemp("models") / "linear.onnx"))


class Silent(SyntheticBoard):
    """A synthetic board whose state nobody asks for."""

    def state(self):
        return None


def energy_through(fake, kind, model, options="", line=SerialLine, **board_options):
    board = Silent(**board_options)
    with line(fake(board.power_w)) as cable:
        board.profile = type(board.profile)("synthetic", "local://", meter=f"{kind}://{cable.place}{options}")
        return measure(board, model, PLAN), board


@pytest.mark.parametrize(
    ("fake", "kind", "options", "line"),
    [
        (FakePpk2, "ppk2", "?mode=source&millivolt=5000", SerialLine),
        pytest.param(instruments.FakeFnb58, "fnb58", "", SerialLine, marks=pytest.mark.slow),
        pytest.param(instruments.FakeScpi, "scpi", "?period_s=0.02&average_s=0.05", TcpLine, marks=pytest.mark.slow),
        pytest.param(instruments.FakeUm25c, "um25c", "", SerialLine, marks=pytest.mark.slow),
    ],
    ids=["ppk2", "fnb58", "scpi", "um25c"],
)  # fmt: skip
def test_from_the_instruments_bytes_to_the_energy_it_is_the_truth(fake, kind, options, line, model):
    m, board = energy_through(fake, kind, model, options, line, busy_w=2.5, idle_w=1.0)
    if m.energy is None and m.missing["energy"].partition(":")[0] in ("gap", "dropped", "unsteady", "clock_bound"):
        pytest.skip(m.missing["energy"])  # a machine too busy to be an instrument
    assert m.energy is not None, m.missing
    assert m.energy.per_inference_j == pytest.approx(board.true_j, rel=0.01)
    assert m.energy.net_per_inference_j == pytest.approx(board.true_j * 1.5 / 2.5, rel=0.02)
    assert m.energy.boundary == "board" and m.energy.fidelity == "external"
    assert 0 < m.energy.clock_bound_s < 0.05


@pytest.mark.slow
def test_a_ppk2_that_loses_samples_gives_no_energy_and_says_so(model):
    m, _ = energy_through(lambda power: FakePpk2(power, lose=930), "ppk2", model)
    assert m.energy is None
    assert m.missing["energy"].partition(":")[0] in ("dropped", "gap")


def test_a_meter_that_is_pulled_out_leaves_the_latency(model, tmp_path):
    trace = tmp_path / "short.csv"
    trace.write_text("time_s,power_w\n" + "".join(f"{i / 100},{1 + i % 2 / 100}\n" for i in range(100)))
    board = Silent(meter=f"replay:{trace}?average_s=0.05")
    m = measure(board, model, PLAN)
    assert m.energy is None and m.missing["energy"].partition(":")[0] in ("low_coverage", "gap", "too_short")
    assert m.latency.n >= 20


@pytest.mark.slow
def test_energy_through_a_joulescope(model, monkeypatch):
    board = Silent(busy_w=2.5, idle_w=1.0, meter="joulescope://")
    driver = instruments.FakeJoulescopeDriver(board.power_w)
    driver.finalize = lambda: None
    monkeypatch.setattr("edgeprune.measuring.meters.joulescope._new_driver", lambda: driver)
    m = measure(board, model, PLAN)
    if m.energy is None:
        pytest.skip(m.missing["energy"])
    assert m.energy.per_inference_j == pytest.approx(board.true_j, rel=0.01)
    assert m.energy.estimator == "padded-net"


def test_fakes_ship_and_say_what_they_are():
    for module in Path(instruments.__file__).parent.glob("*.py"):
        assert module.read_text("utf-8").startswith('"""'), module


def test_the_um_frame_has_its_fields_where_the_meter_has_them():
    frame = instruments.frame_um25c(0x09C9, 5012, 8123)
    assert len(frame) == 130 and struct.unpack_from(">I", frame, 6)[0] == 4071

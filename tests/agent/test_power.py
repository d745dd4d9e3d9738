"""Power sensors, each from a tree as its driver makes it."""

import json
import os
import time
from pathlib import Path

import pytest
from edgeprune_agent import power
from edgeprune_agent.power import pmic
from edgeprune_agent.power.gauges import Gauge, Unusable
from edgeprune_agent.power.watch import PowerReader, PowerWatch, read_for
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.measuring.power_source import read_facts
from edgeprune.testing import gauges, sysfs
from edgeprune.testing.meter_models import METERS
from edgeprune.values.power import BOUNDARIES, FIDELITIES

ANY = {"sensor": None, "rails": [], "current_unit": "uA"}
ORIN = dict(ANY, rails=["VDD_IN"])
AGX = dict(ANY, rails=["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"])
JETSON_4 = dict(ANY, rails=["POM_5V_IN"])
TREES = {
    "ina3221, JetPack 5 and later": (sysfs.jetson_orin, ORIN),
    "ina3221, JetPack 4": (sysfs.Ina3221Iio, JETSON_4),
    "ina3221, AGX Orin": (sysfs.jetson_agx_orin, AGX),
    "ina226": (sysfs.Ina2xx, ANY),
    "ina219": (lambda root: sysfs.Ina2xx(root, "ina219"), ANY),
    "ina238": (lambda root: sysfs.Ina2xx(root, "ina238"), dict(ANY, rails=["VIN"])),
    "ina260": (lambda root: sysfs.Ina2xx(root, "ina260"), ANY),
    "Raspberry Pi 5 PMIC": (gauges.RaspberryPi5, ANY),
    "power_supply": (gauges.Battery, ANY),
}


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def sensor_of(tree, wanted=ANY):
    return power.find(wanted, str(tree.root))


@pytest.mark.parametrize("name", TREES)
class TestEverySensor:
    """What every sensor of a board keeps, whatever its driver."""

    def test_it_reads_the_power_that_the_tree_shows(self, name, tmp_path):
        make, wanted = TREES[name]
        tree = make(tmp_path)
        sensor = sensor_of(tree, wanted)
        for shown in (3.0, 7.25, 1.0):
            tree.show(shown)
            readings = [sensor.read() * 1e-9 for _ in range(11)]
            assert readings[-1] == pytest.approx(shown, abs=2 * sensor.facts["resolution_w"])
        assert not sensor.flags

    def test_it_is_read_for_a_moment_again_and_again_and_leaves_no_file_open(self, name, tmp_path, monkeypatch):
        make, wanted = TREES[name]
        monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(make(tmp_path).root))
        before = open_files()
        for _ in range(3):
            told = read_for(0.01, wanted)
            assert told["error"] is None and told["facts"] and len(told["t_ns"]) == len(told["values"]) > 0
        assert open_files() <= before

    def test_it_states_source_boundary_rate_and_resolution(self, name, tmp_path):
        make, wanted = TREES[name]
        facts = read_facts(json.loads(json.dumps(sensor_of(make(tmp_path), wanted).facts)))
        assert facts.source and facts.boundary in BOUNDARIES and facts.fidelity in FIDELITIES
        assert 0 < facts.period_s <= 0.5 and 0 < facts.resolution_w < 0.2 and 0 < facts.gain_ratio <= 0.1

    def test_it_is_listed(self, name, tmp_path):
        make, _ = TREES[name]
        make(tmp_path)
        assert power.names(str(tmp_path))


@pytest.mark.parametrize("name", [name for name in (*TREES, "rapl") if name in METERS])
def test_its_facts_are_those_that_the_truth_test_uses(name, tmp_path):
    make, wanted = TREES.get(name, (sysfs.Rapl, ANY))
    facts, model = read_facts(sensor_of(make(tmp_path), wanted).facts), METERS[name].facts
    for field in ("period_s", "average_s", "delay_s", "resolution_w", "gain_ratio", "offset_w", "counter"):
        assert getattr(facts, field) == pytest.approx(getattr(model, field), rel=0.1), field


# --- INA3221


def test_the_profile_names_the_rail_and_its_source_says_so(tmp_path):
    assert sensor_of(sysfs.jetson_orin(tmp_path), ORIN).facts["source"] == "ina3221 VDD_IN"
    assert sensor_of(sysfs.jetson_orin(tmp_path), ORIN).facts["boundary"] == "module"


def test_rails_that_nobody_adds_up_are_refused_not_guessed(tmp_path):
    with pytest.raises(Unusable, match="which of the rails VDD_IN, VDD_CPU_GPU_CV, VDD_SOC make the total"):
        sensor_of(sysfs.jetson_orin(tmp_path), dict(ANY, sensor="ina"))


def test_a_rail_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(Unusable, match=r"no rail VIN \(there are VDD_IN, "):
        sensor_of(sysfs.jetson_orin(tmp_path), dict(ANY, sensor="ina", rails=["VIN"]))


def test_unconnected_channels_and_the_sum_of_shunt_voltages_are_no_rails(tmp_path):
    sysfs.jetson_agx_orin(tmp_path)
    rails = power.names(str(tmp_path))
    assert rails == [f"ina3221 {r}" for r in ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")]


def test_agx_orin_adds_three_rails_once_and_not_the_fourth(tmp_path):
    tree = sysfs.jetson_agx_orin(tmp_path)
    tree.show(20.0)
    sensor = sensor_of(tree, AGX)
    assert sensor.read() * 1e-9 == pytest.approx(20.0, abs=0.2)
    assert sensor.facts["source"] == "ina3221 VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"


def test_the_recorded_agx_orin_gives_what_its_files_said(tmp_path):
    tree = sysfs.jetson_agx_orin(tmp_path)
    folder = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    for channel, (millivolt, milliamp) in enumerate([(843, 6170), (780, 3437), (4968, 953)], 1):
        tree.put(f"{folder}/in{channel}_input", millivolt)
        tree.put(f"{folder}/curr{channel}_input", milliamp)
    expected = 843 * 6170 + 780 * 3437 + 4968 * 953
    assert sensor_of(tree, AGX).read() == expected * 1000


def test_a_channel_that_is_switched_off_is_no_reading(tmp_path):
    tree = sysfs.jetson_orin(tmp_path)
    tree.lose("curr1_input")
    with pytest.raises(OSError):
        sensor_of(tree, ORIN).read()


def test_spot_readings_of_jetpack_4_are_stated_as_such(tmp_path):
    averaged = sensor_of(sysfs.Ina3221Iio(tmp_path / "a"), JETSON_4)
    spot = sensor_of(sysfs.Ina3221Iio(tmp_path / "b", continuous=False), JETSON_4)
    assert averaged.facts["average_s"] == 0.422 and spot.facts["average_s"] < 0.001


# --- INA2xx


def test_a_power_that_overflowed_is_worked_out_of_voltage_and_current(tmp_path):
    tree = sysfs.Ina2xx(tmp_path, overflow_w=10.0)
    tree.show(12.0)
    assert int((tmp_path / "sys/class/hwmon/hwmon2/power1_input").read_text()) < 0
    assert sensor_of(tree).read() == 12_000_000_000


def test_the_shunt_that_the_driver_believes_in_is_in_the_source(tmp_path):
    assert "shunt 100 mOhm" in sensor_of(sysfs.Ina2xx(tmp_path, "ina219", 100_000)).facts["source"]


# --- RAPL


def test_a_counter_counts_over_its_wrap_and_parts_are_not_added(tmp_path):
    tree = sysfs.Rapl(tmp_path, packages=2, span_uj=65712999613, begin_uj=65712999613 - 3_000_000)
    sensor = sensor_of(tree)
    assert sensor.read() == 0
    for total in (4.0, 8.0, 12.0):
        tree.count(4.0)
        assert sensor.read() * 1e-9 == pytest.approx(total, abs=1e-5)
    assert sensor.facts["counter"] and sensor.facts["source"] == "rapl package-0 + package-1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_counter_that_is_roots_alone_names_the_command(tmp_path):
    tree = sysfs.Rapl(tmp_path)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0)
    with pytest.raises(Unusable, match=r"chmod a\+r"):
        sensor_of(tree)


# --- Raspberry Pi 5


def test_a_raspberry_pi_5s_own_answer_is_10_8_watts():
    assert pmic.total_w(gauges.PMIC_ANSWER) == pytest.approx(10.80, abs=0.005)


def test_a_raspberry_pi_that_tells_no_current_has_no_sensor(tmp_path):
    with pytest.raises(Unusable, match="tells no current"):
        sensor_of(gauges.RaspberryPi5(tmp_path, "   EXT5V_V volt(24)=5.06788000V\n"), dict(ANY, sensor="rpi_pmic"))


@given(st.text(max_size=200))
def test_whatever_the_firmware_says_is_a_power_or_none(said):
    total = pmic.total_w(said + "\n" + gauges.PMIC_ANSWER)
    assert total >= 0
    pmic.total_w(said)


# --- batteries


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("unit", ["uA", "mA"])
def test_a_battery_is_read_in_its_vendors_unit_whatever_its_sign(tmp_path, unit, sign):
    tree = gauges.Battery(tmp_path, unit, sign)
    tree.show(2.0)
    sensor = sensor_of(tree, dict(ANY, current_unit=unit))
    assert sensor.read() == 2_000_000_000 and not sensor.flags


@pytest.mark.parametrize(("unit", "told"), [("mA", "uA"), ("uA", "mA")])
def test_a_battery_in_another_unit_is_caught(tmp_path, unit, told):
    tree = gauges.Battery(tmp_path, unit)
    tree.show(2.0)
    sensor = sensor_of(tree, dict(ANY, current_unit=told))
    sensor.read()
    assert sensor.flags == {"sign"}


def test_a_gauge_that_gives_the_smallest_integer_or_nothing_is_caught(tmp_path):
    for value in (-(2**31), 0):
        tree = gauges.Battery(tmp_path / str(value))
        tree.put("sys/class/power_supply/battery/current_now", value)
        sensor = sensor_of(tree)
        sensor.read()
        assert sensor.flags == {"sign"}


def test_a_phone_on_its_cable_is_charging(tmp_path):
    tree = gauges.Battery(tmp_path, status="Charging")
    tree.show(2.0)
    sensor = sensor_of(tree)
    sensor.read()
    assert sensor.flags == {"charging"}


# --- files


@given(st.binary(max_size=80))
def test_whatever_a_file_holds_is_a_number_or_an_oserror(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "gauge"
    path.write_bytes(content)
    try:
        assert isinstance(Gauge(str(path)).read(), int)
    except OSError as error:
        assert error.errno


def test_a_number_may_be_followed_by_its_unit(tmp_path):
    (tmp_path / "limit").write_text("32760 ma\n")
    assert Gauge(str(tmp_path / "limit")).read() == 32760


def test_a_board_without_sensors_says_what_was_looked_for(tmp_path):
    with pytest.raises(Unusable, match="ina: no INA sensor; rapl: no RAPL; rpi_pmic: no vcgencmd; power_supply: no"):
        power.find(ANY, str(tmp_path))
    assert power.names(str(tmp_path)) == []


# --- the process that reads


class Events:
    def __init__(self):
        self.told = []

    def put(self, kind, **fields):
        self.told.append(dict(fields, kind=kind))


def watched(tree, monkeypatch, wanted, seconds=0.4):
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tree.root))
    watch, events = PowerWatch(wanted), Events()
    time.sleep(seconds)
    watch.take()
    watch.tell(events)
    return events.told


def test_readings_come_with_their_times_in_order_and_out_of_step(tmp_path, monkeypatch):
    tree = sysfs.jetson_orin(tmp_path)
    tree.show(4.0)
    begin = time.monotonic_ns()
    said, readings = watched(tree, monkeypatch, ORIN, 0.6)
    times = readings["t_ns"]
    assert said["facts"]["source"] == "ina3221 VDD_IN" and said["error"] is None and said["dropped"] == 0
    assert len(times) >= 5 and list(times) == sorted(times) and begin < times[0] and times[-1] < time.monotonic_ns()
    assert {round(value * 1e-9, 1) for value in readings["values"]} == {4.0}


def test_failed_readings_are_counted(tmp_path, monkeypatch):
    tree = sysfs.jetson_orin(tmp_path)
    tree.lose("in1_input")
    told = watched(tree, monkeypatch, ORIN)
    assert told[0]["dropped"] >= 2 and len(told) == 1


def test_a_sensor_that_is_not_there_is_told_as_the_reason(tmp_path, monkeypatch):
    told = watched(gauges.Battery(tmp_path), monkeypatch, dict(ANY, sensor="rapl"), 0.1)
    assert told == [{"kind": "power", "facts": None, "error": "rapl: no RAPL", "dropped": 0, "flags": []}]


def test_what_the_sensor_itself_refuses_is_told(tmp_path, monkeypatch):
    tree = gauges.Battery(tmp_path, status="Full")
    tree.show(2.0)
    assert watched(tree, monkeypatch, ANY, 0.1)[0]["flags"] == ["charging"]


def test_a_reader_keeps_its_pace_on_average(tmp_path, monkeypatch):
    tree = sysfs.jetson_orin(tmp_path)
    reader, now = PowerReader(ORIN, str(tree.root)), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    reader.read()
    for _ in range(501):
        reader.read()
    assert (now[0] - 100.0) / 500 == pytest.approx(0.02, rel=0.02)
